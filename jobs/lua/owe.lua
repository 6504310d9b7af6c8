-- Owe the client word of the state that its job has entered: once for each, if the job asks for it.
-- Put before the scripts that need it.
local function owe(webhooks, bell, deliveries, record, job_id, status, now_ms)
    local event = 'job.' .. status
    local wanted = redis.call('HGET', record, 'notify') or ''
    if not string.find(' ' .. wanted .. ' ', ' ' .. event .. ' ', 1, true) then
        return
    end
    local delivery = cjson.encode({created_ms = now_ms, next_ms = now_ms})
    if redis.call('HSETNX', deliveries, event, delivery) == 1 then
        redis.call('ZADD', webhooks, now_ms, 'msg_' .. job_id .. '_' .. status)
        redis.call('PUBLISH', bell, event)
    end
end
