-- What a model's finished jobs teach about the next ones: sums that fade within a minute of work, or
-- within twenty jobs where those take longer, so that they follow what the workers do now. Idle hours
-- do not count.
-- A pure function, put before the script that needs it; jobs/pace.py reads the sums.
local MEMORY_MS, MEMORY_JOBS = 60000, 20
-- When each worker last ended a job is known for so long; a size, until so little is left of it.
local KEEP_END_MS, LEAST_JOBS = 3600000, 0.01

-- The sums after one more job, whole: what is not among them is forgotten.
-- `length` is the work of one image: what decides how long a job runs when its images run together.
local function paced(sums, started_ms, ended_ms, work, length, worker)
    local mark = 'ended_ms ' .. worker
    local busy_ms = math.max(1, ended_ms - math.max(sums.ended_ms or 0, started_ms))
    local worker_ms = math.max(1, ended_ms - math.max(sums[mark] or 0, started_ms))
    local ran_ms = ended_ms - started_ms
    -- Half octaves of length: batches favour the short, so the long run longer than in proportion.
    local size = string.format('%d', math.floor(2 * math.log(length) / math.log(2) + 0.5))
    local fade = math.exp(-math.min(busy_ms / MEMORY_MS, 1 / MEMORY_JOBS))

    local after = {}
    for name, value in pairs(sums) do
        local kind, of = string.match(name, '^(%S+) (.*)$')
        if kind == 'ended_ms' then
            after[name] = value >= ended_ms - KEEP_END_MS and value or nil
        elseif kind and (sums['jobs ' .. of] or 0) * fade >= LEAST_JOBS then
            after[name] = value * fade
        end
    end
    -- The version before did not tell workers apart: as far as anybody knows there was one.
    local before = {worker_ms = sums.busy_ms}
    for name, value in pairs({
        work = work, busy_ms = busy_ms, worker_ms = worker_ms,
        jobs = 1, ran_ms = ran_ms, work_ran_ms = work * ran_ms,
        ['jobs ' .. size] = 1, ['length ' .. size] = length, ['ran_ms ' .. size] = ran_ms,
    }) do
        after[name] = (sums[name] or before[name] or 0) * fade + value
    end
    after.ended_ms, after[mark] = ended_ms, ended_ms
    return after
end
