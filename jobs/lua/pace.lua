-- What a model's finished jobs teach about the next ones: sums that fade within a minute of work, or
-- within twenty jobs where those take longer, so that they follow what the workers do now. Idle hours
-- do not count.
-- Pure functions, put before the script that needs them; jobs/pace.py reads the sums.
local MEMORY_MS, MEMORY_JOBS = 60000, 20
-- Beside the sums lies when each worker last ended a job, for so long.
local LAST_END, KEEP_END_MS = 'ended_ms ', 3600000

-- `length` is the work of one image: what decides how long a job runs when its images run together.
local function paced(sums, started_ms, ended_ms, work, length, worker)
    local mark = LAST_END .. worker
    local busy_ms = math.max(1, ended_ms - math.max(sums.ended_ms or 0, started_ms))
    local worker_ms = math.max(1, ended_ms - math.max(sums[mark] or 0, started_ms))
    local ran_ms = ended_ms - started_ms
    -- The version before did not tell workers apart: as far as anybody knows there was one.
    local before = {worker_ms = sums.busy_ms}
    local fade = math.exp(-math.min(busy_ms / MEMORY_MS, 1 / MEMORY_JOBS))
    local faded = {}
    for name, value in pairs({
        work = work, busy_ms = busy_ms, worker_ms = worker_ms, jobs = 1, ran_ms = ran_ms,
        length = length, length_squared = length * length, length_ran_ms = length * ran_ms,
    }) do
        faded[name] = (sums[name] or before[name] or 0) * fade + value
    end
    faded.ended_ms, faded[mark] = ended_ms, ended_ms
    return faded
end

local function is_forgotten(name, value, now_ms)
    return string.sub(name, 1, #LAST_END) == LAST_END and value < now_ms - KEEP_END_MS
end
