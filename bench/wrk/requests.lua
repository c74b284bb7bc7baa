-- What to send is in the environment; what came back is printed as one line behind "RESULT".

local target = os.getenv("TARGET")
local pause = tonumber(os.getenv("PAUSE") or "")
local tokens = os.getenv("TOKENS")
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init()
   math.randomseed(number + 1)
   fixed = wrk.format("GET", target)
   if tokens then
      head = fixed:sub(1, #fixed - 2) .. "authorization: Bearer "
      file = assert(io.open(tokens, "r"))
      -- Each thread has a share of its own; all lines have one length.
      local length = #file:read("*l") + 1
      local skip = tonumber(os.getenv("SKIP"))
      left = math.floor((file:seek("end") / length - skip) / tonumber(os.getenv("THREADS")))
      file:seek("set", (skip + number * left) * length)
   end
end

function request()
   if not tokens then
      return fixed
   end
   left = left - 1
   if left < 0 then
      io.stderr:write("there were too few tokens\n")
      os.exit(1)
   end
   return head .. file:read("*l") .. "\r\n\r\n"
end

-- wrk asks before every request, if there is such a function.
if pause then
   function delay()
      -- Whole milliseconds are all that wrk takes; so they are right on average.
      return math.floor(math.random() * 2 * pause + math.random())
   end
end

function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.timeout
   io.write(string.format("RESULT %d %d %d %d %f %f\n", summary.requests, summary.duration,
      failed, errors.status, latency:percentile(50), latency:percentile(99)))
end
