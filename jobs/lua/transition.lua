-- Move a job to another state, if its present state and its lease allow that.
-- KEYS: those of the job, and of its webhook, and the unfinished jobs of API keys
-- ARGV: job id, wanted state, states it may come from (by comma), lease token or '',
--       ms to keep the record once it is finished, and its events, then further fields and values
-- Returns 'done', 'missing', 'fenced', or the state that forbids the move.
local record, queue, definition, in_progress, tries, unfinished, bell, _, tenants, load, pace,
    events, changes, webhooks, webhook_bell, deliveries, unfinished_of_keys = unpack(KEYS)
local job_id, wanted, allowed, token, keep_ms, keep_events_ms = unpack(ARGV)

local held = redis.call('HMGET', record, 'status', 'lease', 'place', 'attempts', 'work', 'tenant',
    'started_ms', 'length', 'api_key')
local status, lease, place, attempts, work, tenant, started_ms, length, api_key = unpack(held)
if not status then
    return 'missing'
end
if status == wanted and token ~= '' and token == lease then
    -- The holder asks again, since the answer to its first time was lost.
    return 'done'
end
if not string.find(',' .. allowed .. ',', ',' .. status .. ',', 1, true) then
    return status
end
if token ~= '' and token ~= lease then
    return 'fenced'
end

if wanted == 'queued' then
    -- Handed back unfinished: the old place in line, and the attempt does not count.
    redis.call('HSET', record, 'status', wanted, 'attempts', (string.gsub(attempts, '[^\n]*\n$', '')), unpack(ARGV, 7))
    redis.call('HDEL', record, 'lease', 'started_ms')
    redis.call('DEL', in_progress)
    redis.call('ZADD', queue, place, job_id)
    redis.call('PUBLISH', bell, job_id)
    tell(events, changes, 'queued', '{}')
    return 'done'
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', record, 'status', wanted, 'finished_ms', now_ms, 'expires_ms', now_ms + keep_ms, unpack(ARGV, 7))
-- Only an unfinished job has work and a place, and a record is kept long.
redis.call('HDEL', record, 'place', 'work', 'length')
redis.call('PEXPIRE', record, keep_ms)
redis.call('ZREM', queue, job_id)
redis.call('SREM', unfinished, job_id)
redis.call('DECRBY', load, work)
if (api_key or '') ~= '' and redis.call('HINCRBY', unfinished_of_keys, api_key, -1) <= 0 then
    redis.call('HDEL', unfinished_of_keys, api_key)
end
redis.call('DEL', definition, in_progress, tries)
tell(events, changes, 'end', '{}')
redis.call('PEXPIRE', events, keep_events_ms)
owe(webhooks, webhook_bell, deliveries, record, job_id, wanted, now_ms)
redis.call('PEXPIRE', deliveries, keep_ms)

if status == 'queued' then
    -- It was never served, so its tenant's next job need not wait for it.
    local member = lane_of(tonumber(place)) .. '/' .. tenant
    if redis.call('ZSCORE', tenants, member) then
        redis.call('ZINCRBY', tenants, -cost_of(tonumber(work)), member)
    end
elseif wanted == 'succeeded' then
    local before = {}
    local flat = redis.call('HGETALL', pace)
    for index = 1, #flat, 2 do
        before[flat[index]] = tonumber(flat[index + 1])
    end
    local worker = string.match(attempts or '', '(%S+)\n$') or ''
    local after = paced(before, tonumber(started_ms), now_ms, tonumber(work), tonumber(length), worker)
    redis.call('DEL', pace)
    for name, value in pairs(after) do
        redis.call('HSET', pace, name, string.format('%.17g', value))
    end
end
return 'done'
