package tools

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// guard stands before every HTTP path and method. In this order it checks that
// the request was meant for this server (Host, against DNS rebinding), that no
// web page of another origin makes it (Origin, Sec-Fetch-Site), and who makes it
// (Authorization).
type guard struct {
	tokens  TokenStore
	hosts   []string // lower case, without a port
	origins []string
}

func newGuard(o HTTPOptions) *guard {
	g := &guard{tokens: o.Tokens, hosts: []string{"localhost"}}
	for _, h := range append([]string{o.Addr}, o.AllowedHosts...) {
		if h = hostOnly(h); h != "" {
			g.hosts = append(g.hosts, h)
		}
	}
	for _, origin := range o.AllowedOrigins {
		g.origins = append(g.origins, strings.ToLower(strings.TrimSuffix(origin, "/")))
	}
	return g
}

// hostOnly is a host in lower case without port, brackets and final dot.
func hostOnly(s string) string {
	if h, _, err := net.SplitHostPort(s); err == nil {
		s = h
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(s, "[]")), ".")
}

func (g *guard) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if !g.hostAllowed(r) {
			deny(w, http.StatusForbidden, "forbidden_host", "this server is not known by that Host; see --allow-host")
			return
		}
		if !g.originAllowed(r) {
			deny(w, http.StatusForbidden, "forbidden_origin", "pages of that Origin may not call; see --allow-origin")
			return
		}
		if g.cors(w, r) {
			return
		}
		token, given := bearer(r)
		bot, ok := g.tokens.Lookup(token)
		switch {
		case !given:
			h.Set("WWW-Authenticate", `Bearer realm="moorage"`)
			deny(w, http.StatusUnauthorized, "unauthorized", "a bearer token is needed; moorage token add makes one")
		case !ok:
			h.Set("WWW-Authenticate", `Bearer realm="moorage", error="invalid_token", error_description="unknown or revoked"`)
			deny(w, http.StatusUnauthorized, "invalid_token", "the token is unknown or revoked")
		default:
			next.ServeHTTP(w, r.WithContext(withBot(r.Context(), bot)))
		}
	})
}

// hostAllowed: a loopback address, a name or address of the server's own, or
// the very address that the connection came to.
func (g *guard) hostAllowed(r *http.Request) bool {
	host := hostOnly(r.Host)
	if slices.Contains(g.hosts, host) && host != "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if ip.IsLoopback() {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap() == ip.Unmap()
}

// originAllowed: no Origin and no word of a browser that the request crosses
// sites, the server's own origin, or one that the operator named.
func (g *guard) originAllowed(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		site := r.Header.Get("Sec-Fetch-Site")
		return site == "" || site == "same-origin" || site == "none"
	}
	if len(origins) > 1 {
		return false
	}
	if g.named(origins[0]) {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

func (g *guard) named(origin string) bool {
	return origin != "" && slices.Contains(g.origins, strings.ToLower(origin))
}

// cors lets pages of the origins that the operator named read answers, and
// answers their preflights. No other origin gets a header of CORS.
func (g *guard) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	origin := r.Header.Get("Origin")
	if !g.named(origin) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	h.Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate")
	if r.Method != http.MethodOptions {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, Mcp-Method, Mcp-Name, Mcp-Protocol-Version, Mcp-Session-Id")
	w.WriteHeader(http.StatusNoContent)
	return true
}

// bearer is the token of a request.
func bearer(r *http.Request) (token string, given bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

// watch calls end when the token of a long-lived request is no longer its bot's.
func (g *guard) watch(ctx context.Context, r *http.Request, end func()) {
	token, _ := bearer(r)
	tick := time.NewTicker(recheckTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if bot, ok := g.tokens.Lookup(token); !ok || bot != botOf(ctx) {
				end()
				return
			}
		}
	}
}

func deny(w http.ResponseWriter, status int, name, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": name, "error_description": text}) // the client may be gone
}
