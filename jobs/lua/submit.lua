-- Write a job's record, its place in the queue and its idempotency key: all of it, or nothing.
-- KEYS: those of the job, then the counter of places and the idempotency key, if any
-- ARGV: job id, definition, fingerprint of the request, ms to keep the idempotency key,
--       then the record's fields and values
-- Returns 'created' or 'replayed' and the job's id, or 'conflict'.
local record, queue, definition, _, _, _, bell, places, idempotency = unpack(KEYS)
local job_id, fingerprint = ARGV[1], ARGV[3]

if idempotency then
    local earlier = redis.call('HMGET', idempotency, 'job', 'fingerprint')
    if earlier[1] and earlier[2] ~= fingerprint then
        return {'conflict'}
    elseif earlier[1] then
        return {'replayed', earlier[1]}
    end
    redis.call('HSET', idempotency, 'job', job_id, 'fingerprint', fingerprint)
    redis.call('PEXPIRE', idempotency, ARGV[4])
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local place = redis.call('INCR', places)

redis.call('HSET', record, 'created_ms', now_ms, 'place', place, unpack(ARGV, 5))
-- arq would let a definition expire after a day and then fail the job that waited longer.
redis.call('SET', definition, ARGV[2])
redis.call('ZADD', queue, place, job_id)
redis.call('PUBLISH', bell, job_id)
return {'created', job_id}
