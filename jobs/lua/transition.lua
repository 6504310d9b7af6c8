-- Move a job to another state, if its present state and its lease allow that.
-- KEYS: those of the job
-- ARGV: job id, wanted state, states it may come from (by comma), lease token or '',
--       ms to keep the record once it is finished, then further fields and values
-- Returns 'done', 'missing', 'fenced', or the state that forbids the move.
local record, queue, definition, in_progress, tries, started, bell = unpack(KEYS)
local job_id, wanted, allowed, token, keep_ms = unpack(ARGV)

local held = redis.call('HMGET', record, 'status', 'lease', 'place')
local status, lease, place = held[1], held[2], held[3]
if not status then
    return 'missing'
end
if not string.find(',' .. allowed .. ',', ',' .. status .. ',', 1, true) then
    return status
end
if token ~= '' and token ~= lease then
    return 'fenced'
end

redis.call('HSET', record, 'status', wanted, unpack(ARGV, 6))
redis.call('HDEL', record, 'lease')

if wanted == 'queued' then
    -- Handed back unfinished: the old place in line, and the attempt does not count.
    redis.call('HINCRBY', record, 'attempt', -1)
    redis.call('DEL', in_progress)
    redis.call('ZADD', queue, place, job_id)
    redis.call('PUBLISH', bell, job_id)
else
    local time = redis.call('TIME')
    redis.call('HSET', record, 'finished_ms', time[1] * 1000 + math.floor(time[2] / 1000))
    redis.call('PEXPIRE', record, keep_ms)
    redis.call('ZREM', queue, job_id)
    redis.call('SREM', started, job_id)
    redis.call('DEL', definition, in_progress, tries)
end
return 'done'
