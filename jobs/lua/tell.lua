-- Append to a job's events, and wake whoever watches it; returns how many do.
-- Put before the scripts that need it.
local MOST_EVENTS = 1000

local function tell(events, changes, kind, data)
    redis.call('XADD', events, 'MAXLEN', '~', MOST_EVENTS, '*', 'kind', kind, 'data', data)
    return redis.call('PUBLISH', changes, kind)
end
