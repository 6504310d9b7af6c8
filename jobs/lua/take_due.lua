-- Take deliveries that are due. They fall due again by themselves unless their outcome is noted.
-- KEYS: webhooks
-- ARGV: how many at most, ms until they fall due again
-- Returns when they fall due again, and their ids.
local webhooks = KEYS[1]
local most, lease_ms = unpack(ARGV)

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local ids = redis.call('ZRANGEBYSCORE', webhooks, '-inf', now_ms, 'LIMIT', 0, most)
for _, id in ipairs(ids) do
    redis.call('ZADD', webhooks, now_ms + lease_ms, id)
end
return {now_ms + lease_ms, ids}
