-- Put a job back in line whose holder went silent, or that the queue has lost: arq's finish is not
-- fenced, so a holder that was paused past its lease can remove the entry under the next one.
-- The silent holder keeps its token: if it is heard of before another claims the job, it goes on.
-- KEYS: those of the job
-- ARGV: job id, definition
-- Returns 1 when the job was put back.
local record, queue, definition, _, _, unfinished, bell = unpack(KEYS)
local job_id, defined = unpack(ARGV)

local held = redis.call('HMGET', record, 'status', 'place')
local status, place = held[1], held[2]
if status ~= 'queued' and status ~= 'running' then
    redis.call('SREM', unfinished, job_id)
    return 0
end
local score = tonumber(redis.call('ZSCORE', queue, job_id) or nil)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if score and (score < 0 or score > now_ms) then
    return 0
end
redis.call('SET', definition, defined)
redis.call('ZADD', queue, place, job_id)
redis.call('PUBLISH', bell, job_id)
return 1
