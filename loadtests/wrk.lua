-- Sends one request over and over, or, where it holds "__unique__" places, the request with the next number in each.
-- Arguments: the whole request, and after how many numbers they begin again. Ends with one line of JSON.

local PLACE = '__unique__%-%-'  -- 12 characters, as wide as the number that takes the place
local pieces, number, numbers

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
end

function request()
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
