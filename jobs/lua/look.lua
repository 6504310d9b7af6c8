-- Read a job's record and, while it waits, its place in line.
-- KEYS: the record
-- ARGV: job id, what the name of every queue begins with, whose job it must be or ''
-- Returns the record's fields, names and values in turn, and how many wait before the job.
local record = KEYS[1]
local job_id, queues, tenant = unpack(ARGV)

local fields, ahead = redis.call('HGETALL', record), false
local status, request, owner = unpack(redis.call('HMGET', record, 'status', 'request', 'tenant'))
if tenant ~= '' and tenant ~= owner then
    return {{}, 0}
end
if status == 'queued' then
    -- Only a newer version's request names no model.
    ahead = redis.call('ZRANK', queues .. (cjson.decode(request).model or ''), job_id)
end
return {fields, ahead or 0}
