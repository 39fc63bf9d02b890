-- The read of a line for nginx' Lua module, in two forms: all of it by one
-- script in Redis; or with the keys remembered in the worker, tokens leased into
-- shared memory and the line's document fetched as it is.  Required once.

local redis = require 'nginx.redis'
local sha256 = require 'nginx.sha256'
local str = require 'nginx.string'
local lrucache = require 'resty.lrucache'

local M = {}
local port, burst, interval = 0, 1000, 1000
local read, lease = {}, {}
local keys = lrucache.new(200000)
local leases = ngx.shared.leases
local match, header, var, say = string.match, ngx.header, ngx.var, ngx.print


function M.init(options)
    port = options.port
    local function load(script, file)
        local f = assert(io.open(file))
        script.text = f:read('*a')
        f:close()
        local sha1 = require('nginx.sha1'):new()
        sha1:update(script.text)
        script.sha = str.to_hex(sha1:final())
    end
    load(read, options.dir .. '/read.lua')
    load(lease, options.dir .. '/lease.lua')
end


local function connect()
    local r = redis:new()
    r:set_timeout(2000)
    local ok, err = r:connect('127.0.0.1', port)
    if not ok then
        ngx.log(ngx.ERR, 'redis: ', err)
        return ngx.exit(503)
    end
    return r
end


local function run(r, script, ...)
    local reply, err = r:evalsha(script.sha, ...)
    if not reply and err and match(err, '^NOSCRIPT') then
        reply, err = r:eval(script.text, ...)
    end
    if not reply then
        ngx.log(ngx.ERR, 'redis: ', err)
        return ngx.exit(503)
    end
    return reply
end


local function digest(key)
    local h = sha256:new()
    h:update(key)
    return str.to_hex(h:final())
end


local function asked()
    local key = match(var.http_authorization or '', '^Bearer (.+)$')
    local line = match(var.uri, '^/api/line%-requests/(%x+)$')
    return key, line
end


local function answer(status, left, seconds, json)
    ngx.status = status
    header['Content-Type'] = 'application/json'
    header['Cache-Control'] = 'no-store'
    header['X-Content-Type-Options'] = 'nosniff'
    header['X-Request-Id'] = var.request_id
    if left then
        header['RateLimit-Policy'] = '"api";q=1000;w=1'
        header['RateLimit'] = '"api";r=' .. left .. ';t=' .. seconds
    end
    json = json or '{"error":"' .. status .. '"}'
    header['Content-Length'] = #json
    say(json)
end


function M.one_script()
    local key, line = asked()
    if not key then return answer(401) end
    local r = connect()
    local reply = run(r, read, 1, 'key:' .. digest(key), line, interval, burst)
    r:set_keepalive(60000, 256)
    return answer(reply[1], reply[2], reply[3], reply[4])
end


function M.leased()
    local key, line = asked()
    if not key then return answer(401) end
    local r
    local tenant = keys:get(key)

    if not tenant then
        r = connect()
        tenant = r:get('key:' .. digest(key))
        if not tenant or tenant == ngx.null then return answer(401) end
        keys:set(key, tenant, 60)
    end

    -- what is left on this node; more of it, a tenth of the bucket, for 10 s
    local left = leases:incr(tenant, -1)

    if not left or left < 0 then
        r = r or connect()
        local got = run(r, lease, 1, 'bucket:' .. tenant, interval, burst, burst / 10)
        if got[1] < 1 then
            if left then leases:incr(tenant, 1) end
            r:set_keepalive(60000, 256)
            return answer(429, 0, 1)
        end

        -- others may have done the same meanwhile: each adds what it was given
        left = leases:incr(tenant, got[1] - (left and 0 or 1), 0, 10)
        leases:expire(tenant, 10)
    end

    r = r or connect()
    local json = r:get('json:' .. tenant .. ':' .. line)
    r:set_keepalive(60000, 256)
    if not json or json == ngx.null then return answer(404) end

    return answer(200, left, 1, json)
end


return M
