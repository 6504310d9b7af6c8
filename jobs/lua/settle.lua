-- Note how an attempt at a delivery ended, and when the next one is due.
-- KEYS: webhooks, deliveries
-- ARGV: id, event, when it would have fallen due again, attempt as JSON, outcome,
--       ms until the next attempt
local webhooks, deliveries = unpack(KEYS)
local id, event, lease_end, attempt, outcome, delay_ms = unpack(ARGV)

local held = redis.call('HGET', deliveries, event)
if not held then
    -- Its job has been forgotten meanwhile.
    redis.call('ZREM', webhooks, id)
    return
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local delivery = cjson.decode(held)
local ended = cjson.decode(attempt)
ended.ended_ms = now_ms
delivery.attempts = delivery.attempts or {}
table.insert(delivery.attempts, ended)

if outcome ~= 'pending' then
    -- Also when it took too long and another sender has it now: what is delivered is delivered.
    if delivery.outcome ~= 'delivered' then
        delivery.outcome = outcome
    end
    delivery.next_ms = nil
    redis.call('ZREM', webhooks, id)
elseif tonumber(redis.call('ZSCORE', webhooks, id) or nil) == tonumber(lease_end) then
    delivery.next_ms = now_ms + delay_ms
    redis.call('ZADD', webhooks, delivery.next_ms, id)
end
redis.call('HSET', deliveries, event, cjson.encode(delivery))
