-- Sends one request over and over, or, where it holds "__unique__" places, the request with the next number in each.
-- Arguments: the whole request, and after how many numbers they begin again; perhaps a second request, which is sent after
-- each 201 with the reservation's id of that answer in its "__id__" place. Ends with one line of JSON.

local PLACE = '__unique__%-%-'  -- 12 characters, as wide as the number that takes the place
local CREATED = 201
local pieces, number, numbers
local before_id, after_id, opened = '', '', {}

function init(args)
    pieces, number, numbers = {}, 0, tonumber(args[2])
    local from = 1
    while true do
        local first, last = args[1]:find(PLACE, from)
        pieces[#pieces + 1] = args[1]:sub(from, (first or 0) - 1)
        if not first then break end
        pieces[#pieces + 1] = ''
        from = last + 1
    end
    if args[3] then
        before_id, after_id = args[3]:match('^(.-)__id__(.*)$')
        response = remember_opened  -- wrk reads answers only where somebody wants them
    end
end

function remember_opened(status, _, body)
    if status == CREATED then opened[#opened + 1] = body:match('"reservation_id":"(rsv_%x+)"') end
end

function request()
    if #opened > 0 then return before_id .. table.remove(opened) .. after_id end
    for place = 2, #pieces, 2 do
        pieces[place] = string.format('%012d', number)
        number = (number + 1) % numbers
    end
    return table.concat(pieces)
end

function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests":%d,"duration_microseconds":%d,"p50_microseconds":%d,"failed_connections":%d,"refused":%d}\n',
        summary.requests, summary.duration, latency:percentile(50),
        errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
