-- Write a job's record and its place in the queue, both or neither.
-- KEYS: record, queue, arq's definition, counter of places
-- ARGV: job id, definition, then the record's fields and values
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local place = redis.call('INCR', KEYS[4])

redis.call('HSET', KEYS[1], 'created_ms', now_ms, 'place', place, unpack(ARGV, 3))
-- arq would let a definition expire after a day and then fail the job that waited longer.
redis.call('SET', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[2], place, ARGV[1])
return redis.call('HGETALL', KEYS[1])
