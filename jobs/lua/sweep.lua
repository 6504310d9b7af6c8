-- Put back a started job that the queue has lost: arq's finish is not fenced, so a holder that was
-- paused past its lease can remove the entry under the next one.
-- KEYS: those of the job
-- ARGV: job id, definition
-- Returns 1 when the job was put back.
local record, queue, definition, _, _, started, bell = unpack(KEYS)
local job_id = ARGV[1]

local held = redis.call('HMGET', record, 'status', 'place')
local status, place = held[1], held[2]
if status ~= 'queued' and status ~= 'running' then
    redis.call('SREM', started, job_id)
    return 0
end
if redis.call('ZSCORE', queue, job_id) then
    return 0
end
redis.call('SET', definition, ARGV[2])
redis.call('ZADD', queue, place, job_id)
redis.call('PUBLISH', bell, job_id)
return 1
