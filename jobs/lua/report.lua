-- A holder is alive and at some step: renew its lease and note the progress.
-- KEYS: record, queue, arq's in-progress mark
-- ARGV: job id, lease token, lease in ms, step
-- Returns 1, or 0 when the caller no longer holds the job.
local held = redis.call('HMGET', KEYS[1], 'status', 'lease')
if held[1] ~= 'running' or held[2] ~= ARGV[2] then
    return 0
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('HSET', KEYS[1], 'step', ARGV[4])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
redis.call('ZADD', KEYS[2], now_ms + ARGV[3], ARGV[1])
return 1
