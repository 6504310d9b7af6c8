-- Give a job that arq has handed out to its new holder, whoever held it before.
-- KEYS: those of the job
-- ARGV: job id, lease token, lease in ms
-- Returns the record, or nothing when there is no work left to do.
local record, queue, _, in_progress, _, started = unpack(KEYS)
local job_id, token, lease_ms = unpack(ARGV)

local status = redis.call('HGET', record, 'status')
if status ~= 'queued' and status ~= 'running' then
    return {}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('HINCRBY', record, 'attempt', 1)
redis.call('HSET', record, 'status', 'running', 'lease', token, 'started_ms', now_ms, 'step', 0)
redis.call('SADD', started, job_id)
redis.call('SET', in_progress, token, 'PX', lease_ms)
redis.call('ZADD', queue, now_ms + lease_ms, job_id)
return redis.call('HGETALL', record)
