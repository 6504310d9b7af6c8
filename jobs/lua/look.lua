-- Read a job's record and, while it waits, its place in line.
-- KEYS: the record
-- ARGV: job id, what the name of every queue begins with
-- Returns the record's fields, names and values in turn, and how many wait before the job.
local record = KEYS[1]
local job_id, queues = unpack(ARGV)

local fields, ahead = redis.call('HGETALL', record), false
local status, request = unpack(redis.call('HMGET', record, 'status', 'request'))
if status == 'queued' then
    -- Only a newer version's request names no model.
    ahead = redis.call('ZRANK', queues .. (cjson.decode(request).model or ''), job_id)
end
return {fields, ahead or 0}
