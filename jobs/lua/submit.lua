-- Write a job's record, its place in the queue and its idempotency key: all of it, or nothing.
-- KEYS: those of the job, then the idempotency key, if any
-- ARGV: job id, definition, fingerprint of the request, ms to keep the idempotency key, lane,
--       tenant, work, length, most unfinished jobs, most unfinished work,
--       then the record's further fields and values
-- Returns 'created' or 'replayed' and the job's id, 'conflict', or 'full' with the unfinished jobs
-- and their work.
local record, queue, definition, _, _, unfinished, bell, served, tenants, load, _, _, _,
    idempotency = unpack(KEYS)
local job_id, defined, fingerprint, keep_ms, lane, tenant, work, length, most_jobs, most_work =
    unpack(ARGV)
lane, work = tonumber(lane), tonumber(work)

if idempotency then
    local earlier = redis.call('HMGET', idempotency, 'job', 'fingerprint')
    if earlier[1] and earlier[2] ~= fingerprint then
        return {'conflict'}
    elseif earlier[1] then
        return {'replayed', earlier[1]}
    end
end

local jobs, load_now = redis.call('SCARD', unfinished), tonumber(redis.call('GET', load) or 0)
-- A job that is larger than the limit by itself may still run when there is nothing else.
if jobs >= tonumber(most_jobs) or (load_now > 0 and load_now + work > tonumber(most_work)) then
    return {'full', jobs, exact(load_now)}
end

if idempotency then
    redis.call('HSET', idempotency, 'job', job_id, 'fingerprint', fingerprint)
    redis.call('PEXPIRE', idempotency, keep_ms)
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local member = lane .. '/' .. tenant
local place = start_place(
    lane,
    tonumber(redis.call('HGET', served, lane) or nil),
    tonumber(redis.call('ZSCORE', tenants, member) or nil)
)
redis.call('ZADD', tenants, exact(place + cost_of(work)), member)

redis.call('HSET', record, 'created_ms', now_ms, 'place', exact(place), 'tenant', tenant,
    'work', exact(work), 'length', length, unpack(ARGV, 11))
-- arq would let a definition expire after a day and then fail the job that waited longer.
redis.call('SET', definition, defined)
redis.call('ZADD', queue, exact(place), job_id)
redis.call('SADD', unfinished, job_id)
redis.call('INCRBY', load, exact(work))
redis.call('PUBLISH', bell, job_id)
return {'created', job_id}
