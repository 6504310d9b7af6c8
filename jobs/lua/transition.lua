-- Move a job to another state, if its present state and its lease allow that.
-- KEYS: record, queue, arq's definition, arq's in-progress mark, arq's count of tries
-- ARGV: job id, wanted state, states it may come from (by comma), lease token or '',
--       ms to keep the record once it is finished, then further fields and values
-- Returns 'done', 'missing', 'fenced', or the state that forbids the move.
local held = redis.call('HMGET', KEYS[1], 'status', 'lease', 'place')
local status, lease, place = held[1], held[2], held[3]
local wanted, keep_ms = ARGV[2], tonumber(ARGV[5])

if not status then
    return 'missing'
end
if not string.find(',' .. ARGV[3] .. ',', ',' .. status .. ',', 1, true) then
    return status
end
if ARGV[4] ~= '' and ARGV[4] ~= lease then
    return 'fenced'
end

redis.call('HSET', KEYS[1], 'status', wanted)
redis.call('HDEL', KEYS[1], 'lease')
if #ARGV > 5 then
    redis.call('HSET', KEYS[1], unpack(ARGV, 6))
end

if wanted == 'queued' then
    -- Handed back unfinished: the old place in line, and the attempt does not count.
    redis.call('HINCRBY', KEYS[1], 'attempt', -1)
    redis.call('ZADD', KEYS[2], place, ARGV[1])
    redis.call('DEL', KEYS[4])
else
    local time = redis.call('TIME')
    redis.call('HSET', KEYS[1], 'finished_ms', time[1] * 1000 + math.floor(time[2] / 1000))
    redis.call('PEXPIRE', KEYS[1], keep_ms)
    redis.call('ZREM', KEYS[2], ARGV[1])
    redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
end
return 'done'
