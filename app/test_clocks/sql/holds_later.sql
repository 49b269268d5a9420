-- Whether anything was made by the clock that holds from a moment on which is still to come by the real time, $2.
SELECT EXISTS (SELECT FROM prices WHERE environment_id = $1 AND created_at > $2)
    OR EXISTS (SELECT FROM environment_settings WHERE environment_id = $1 AND enrolling_since > $2)
