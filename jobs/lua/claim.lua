-- Give a job that arq has handed out to its new holder, whoever held it before.
-- KEYS: record, queue, arq's in-progress mark
-- ARGV: job id, lease token, lease in ms
-- Returns the record, or nothing when there is no work left to do.
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'queued' and status ~= 'running' then
    return {}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSET', KEYS[1], 'status', 'running', 'lease', ARGV[2], 'started_ms', now_ms, 'step', 0)
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], now_ms + ARGV[3], ARGV[1])
return redis.call('HGETALL', KEYS[1])
