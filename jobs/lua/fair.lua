-- Start-time fair queueing within lanes (Goyal, Vin and Cheng: "Start-time Fair Queueing", 1996).
-- Pure functions, put before the scripts that need them; tests/jobs/test_fair.py holds the bound.
--
-- A waiting job's score is its place: its lane's first place plus its start tag. Places are below
-- zero and so never meet the score of a running job, which is a time; lanes are -2, -1.
local LANE_WIDTH = 2 ^ 50
local WORK_PER_TAG = 2 ^ 16

local function first_place(lane)
    return lane * LANE_WIDTH
end

local function lane_of(place)
    return math.floor(place / LANE_WIDTH)
end

-- How far a job of some work moves its tenant's next one back; at least one, so that a tenant's
-- own jobs stay in order.
local function cost_of(work)
    return math.max(1, math.ceil(work / WORK_PER_TAG))
end

-- A tenant's next job starts when its last one has ended, and never in the past.
local function start_place(lane, served, tenant_end)
    return math.max(first_place(lane), served or -math.huge, tenant_end or -math.huge)
end

-- Lua would write a place with 14 digits.
local function exact(number)
    return string.format('%.0f', number)
end
