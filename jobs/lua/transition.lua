-- Move a job to another state, if its present state and its lease allow that.
-- KEYS: those of the job
-- ARGV: job id, wanted state, states it may come from (by comma), lease token or '',
--       ms to keep the record once it is finished, then further fields and values
-- Returns 'done', 'missing', 'fenced', or the state that forbids the move.
local record, queue, definition, in_progress, tries, unfinished, bell, _, tenants, load, pace =
    unpack(KEYS)
local job_id, wanted, allowed, token, keep_ms = unpack(ARGV)

local held = redis.call('HMGET', record, 'status', 'lease', 'place', 'attempts', 'work', 'tenant', 'started_ms')
local status, lease, place, attempts, work, tenant, started_ms = unpack(held)
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
    redis.call('HSET', record, 'status', wanted, 'attempts', (string.gsub(attempts, '[^\n]*\n$', '')), unpack(ARGV, 6))
    redis.call('HDEL', record, 'lease', 'started_ms')
    redis.call('DEL', in_progress)
    redis.call('ZADD', queue, place, job_id)
    redis.call('PUBLISH', bell, job_id)
    return 'done'
end

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', record, 'status', wanted, 'finished_ms', now_ms, 'expires_ms', now_ms + keep_ms, unpack(ARGV, 6))
redis.call('PEXPIRE', record, keep_ms)
redis.call('ZREM', queue, job_id)
redis.call('SREM', unfinished, job_id)
redis.call('DECRBY', load, work)
redis.call('DEL', definition, in_progress, tries)

if status == 'queued' then
    -- It was never served, so its tenant's next job need not wait for it.
    local member = lane_of(tonumber(place)) .. '/' .. tenant
    if redis.call('ZSCORE', tenants, member) then
        redis.call('ZINCRBY', tenants, -cost_of(tonumber(work)), member)
    end
elseif wanted == 'succeeded' then
    local before = redis.call('HMGET', pace, 'work', 'busy_ms', 'ended_ms')
    local done, busy_ms = paced(tonumber(before[1] or 0), tonumber(before[2] or 0),
        tonumber(before[3] or 0), tonumber(started_ms), now_ms, tonumber(work))
    redis.call('HSET', pace, 'work', exact(done), 'busy_ms', exact(busy_ms), 'ended_ms', now_ms)
end
return 'done'
