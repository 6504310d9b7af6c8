-- A holder has something to show: note it among the job's events.
-- KEYS: those of the job
-- ARGV: job id, lease token, kind, data, '1' when it is worth nothing unless somebody watches
-- Returns 1, or 0 when the caller no longer holds the job.
local record, _, _, _, _, _, _, _, _, _, _, events, changes = unpack(KEYS)
local job_id, token, kind, data, needs_watcher = unpack(ARGV)

local held = redis.call('HMGET', record, 'status', 'lease')
if held[1] ~= 'running' or held[2] ~= token then
    return 0
end
if needs_watcher ~= '1' or redis.call('PUBSUB', 'NUMSUB', changes)[2] > 0 then
    tell(events, changes, kind, data)
end
return 1
