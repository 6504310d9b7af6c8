-- Give a job that arq has handed out to its new holder, whoever held it before.
-- KEYS: those of the job, and of its webhook
-- ARGV: job id, lease token, lease in ms, name of the worker, most attempts, newest layout known
-- Returns how often it was started before, and the record; nothing when there is no work left to do;
-- or 'newer' and the record's layout. A job that has had all its attempts is given out once more, to
-- be failed, and keeps its count.
local record, queue, _, in_progress, _, _, _, served, tenants, _, _, events, changes,
    webhooks, webhook_bell, deliveries = unpack(KEYS)
local job_id, token, lease_ms, worker, most_attempts, known = unpack(ARGV)

local held = redis.call('HMGET', record, 'status', 'place', 'attempts', 'v')
local status, place, attempts = held[1], tonumber(held[2] or nil), held[3] or ''
if status ~= 'queued' and status ~= 'running' then
    -- There is no such job, or it has ended: nobody else need look at its entry.
    redis.call('ZREM', queue, job_id)
    return {}
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if status == 'running' and tonumber(redis.call('ZSCORE', queue, job_id) or 0) > now_ms then
    -- arq handed it out twice: between its reading the queue and now, another worker claimed it.
    return {}
end
if tonumber(held[4] or 1) > tonumber(known) then
    -- Without arq's mark a newer worker can take it at once.
    redis.call('DEL', in_progress)
    return {'newer', held[4]}
end

local lane = lane_of(place)
if place > tonumber(redis.call('HGET', served, lane) or first_place(lane)) then
    redis.call('HSET', served, lane, exact(place))
end
-- A tenant whose last job ends before the served place starts there anyway.
redis.call('ZREMRANGEBYSCORE', tenants, exact(first_place(lane)), redis.call('HGET', served, lane) or '-inf')

local _, count = string.gsub(attempts, '\n', '')
if count < tonumber(most_attempts) then
    attempts = attempts .. now_ms .. ' ' .. worker .. '\n'
end
redis.call('HSET', record, 'status', 'running', 'lease', token, 'started_ms', now_ms, 'step', 0,
    'attempts', attempts)
redis.call('SET', in_progress, token, 'PX', lease_ms)
redis.call('ZADD', queue, now_ms + lease_ms, job_id)
tell(events, changes, 'running', cjson.encode({attempt = count + 1, worker = worker}))
owe(webhooks, webhook_bell, deliveries, record, job_id, 'running', now_ms)
return {count, redis.call('HGETALL', record)}
