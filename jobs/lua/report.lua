-- A holder is alive and at some step: renew its lease and note the progress.
-- KEYS: those of the job
-- ARGV: job id, lease token, lease in ms, step
-- Returns -1 when the caller no longer holds the job, else how many watch it.
local record, queue, _, in_progress, _, _, _, _, _, _, _, events, changes = unpack(KEYS)
local job_id, token, lease_ms, step = unpack(ARGV)

local held = redis.call('HMGET', record, 'status', 'lease', 'step')
if held[1] ~= 'running' or held[2] ~= token then
    return -1
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('SET', in_progress, token, 'PX', lease_ms)
redis.call('ZADD', queue, now_ms + lease_ms, job_id)
if held[3] == step then
    return redis.call('PUBSUB', 'NUMSUB', changes)[2]
end
redis.call('HSET', record, 'step', step)
return tell(events, changes, 'progress', cjson.encode({step = tonumber(step)}))
