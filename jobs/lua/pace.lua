-- How fast a model's jobs are done: work and busy time, each fading with the same memory, so that
-- their ratio follows what the workers do now, and idle hours do not slow it.
-- A pure function, put before the script that needs it.
local MEMORY_MS = 300000

local function paced(work, busy_ms, last_end_ms, started_ms, now_ms, job_work)
    local passed_ms = math.max(1, now_ms - math.max(last_end_ms, started_ms))
    local kept = math.exp(-passed_ms / MEMORY_MS)
    return work * kept + job_work, busy_ms * kept + passed_ms
end
