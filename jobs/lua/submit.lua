-- Write jobs' records, their places in the queue and their idempotency key: all of it, or nothing.
-- KEYS: the idempotency key or '', the batch or '', the unfinished jobs of API keys, then for each
--       job those of the job and its tenant's index
-- ARGV: number of jobs, fingerprint of the request, ms to keep the idempotency key, id to keep under
--       it, most unfinished jobs and most unfinished work of a model, tenant, API key or '', most
--       unfinished jobs of that key or ''; then for each job, as JSON:
--       id, definition, lane, work, length, and its record's further fields
-- Returns 'created' with the id, the time in ms, and how many wait before the last job; 'replayed' and
-- the earlier id; 'conflict'; 'busy' with the API key's unfinished jobs; or 'full' with the number of
-- the job that finds no room, and its model's unfinished jobs and their work.
local count, fingerprint, keep_ms, id, most_jobs, most_work, tenant, api_key, most_of_key = unpack(ARGV)
count, most_jobs, most_work = tonumber(count), tonumber(most_jobs), tonumber(most_work)
local ARGS_OF_ALL, KEYS_OF_ALL, KEYS_OF_JOB = 9, 3, 14
local idempotency, batch, unfinished_of_keys = KEYS[1], KEYS[2], KEYS[3]

if idempotency ~= '' then
    local earlier = redis.call('HMGET', idempotency, 'id', 'fingerprint')
    if earlier[1] and earlier[2] ~= fingerprint then
        return {'conflict'}
    elseif earlier[1] then
        return {'replayed', earlier[1]}
    end
end

local jobs, keys_of = {}, {}
for number = 1, count do
    jobs[number] = cjson.decode(ARGV[ARGS_OF_ALL + number])
    local before = KEYS_OF_ALL + (number - 1) * KEYS_OF_JOB
    keys_of[number] = {unpack(KEYS, before + 1, before + KEYS_OF_JOB)}
end

if most_of_key ~= '' then
    local of_key = tonumber(redis.call('HGET', unfinished_of_keys, api_key) or 0)
    if of_key + count > tonumber(most_of_key) then
        return {'busy', of_key}
    end
end

-- Whether all of them fit, before the first is written.
local taken = {}
for number, job in ipairs(jobs) do
    local _, _, _, _, _, unfinished, _, _, _, load = unpack(keys_of[number])
    taken[load] = taken[load] or {
        jobs = redis.call('SCARD', unfinished), work = tonumber(redis.call('GET', load) or 0),
    }
    local model = taken[load]
    -- A job that is larger than the limit by itself may still run when there is nothing else.
    if model.jobs >= most_jobs or (model.work > 0 and model.work + job.work > most_work) then
        return {'full', number - 1, model.jobs, exact(model.work)}
    end
    model.jobs, model.work = model.jobs + 1, model.work + job.work
end

if idempotency ~= '' then
    redis.call('HSET', idempotency, 'id', id, 'fingerprint', fingerprint)
    redis.call('PEXPIRE', idempotency, keep_ms)
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

if batch ~= '' then
    local ids = {}
    for number, job in ipairs(jobs) do
        ids[number] = job.id
    end
    redis.call('HSET', batch, 'created_ms', now_ms, 'jobs', table.concat(ids, ' '), 'tenant', tenant)
    redis.call('PEXPIRE', batch, keep_ms)
end

if api_key ~= '' then
    redis.call('HINCRBY', unfinished_of_keys, api_key, count)
end

local ahead
for number, job in ipairs(jobs) do
    local record, queue, definition, _, _, unfinished, bell, served, tenants, load, _, _, _, index =
        unpack(keys_of[number])
    local member = job.lane .. '/' .. tenant
    local place = start_place(
        job.lane,
        tonumber(redis.call('HGET', served, job.lane) or nil),
        tonumber(redis.call('ZSCORE', tenants, member) or nil)
    )
    redis.call('ZADD', tenants, exact(place + cost_of(job.work)), member)
    redis.call('HSET', record, 'created_ms', now_ms, 'place', exact(place), 'tenant', tenant,
        'api_key', api_key, 'work', exact(job.work), 'length', exact(job.length), unpack(job.fields))
    -- arq would let a definition expire after a day and then fail the job that waited longer.
    redis.call('SET', definition, job.definition)
    redis.call('ZADD', queue, exact(place), job.id)
    redis.call('SADD', unfinished, job.id)
    redis.call('INCRBY', load, exact(job.work))
    redis.call('ZADD', index, 0, job.id)
    redis.call('PUBLISH', bell, job.id)
    ahead = redis.call('ZRANK', queue, job.id)
end
return {'created', id, now_ms, ahead}
