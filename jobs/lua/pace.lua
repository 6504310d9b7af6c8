-- What a model's finished jobs teach about the next ones: sums that fade with the busy time since,
-- so that they follow what the workers do now, and idle hours do not count.
-- A pure function, put before the script that needs it; jobs/pace.py reads the sums.
local MEMORY_MS = 300000

-- `length` is the work of one image: what decides how long a job runs when its images run together.
local function paced(sums, started_ms, ended_ms, work, length)
    local busy_ms = math.max(1, ended_ms - math.max(sums.ended_ms or 0, started_ms))
    local ran_ms = ended_ms - started_ms
    local faded = {}
    for name, value in pairs({
        work = work, busy_ms = busy_ms, jobs = 1, ran_ms = ran_ms, length = length,
        length_squared = length * length, length_ran_ms = length * ran_ms,
    }) do
        faded[name] = (sums[name] or 0) * math.exp(-busy_ms / MEMORY_MS) + value
    end
    faded.ended_ms = ended_ms
    return faded
end
