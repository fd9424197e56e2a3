package tools

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/mark3labs/mcp-go/server"

	"moorage/sandbox"
)

// Bounds of sessions of streamable HTTP. Beyond them the one that was used
// longest ago ends; its client initializes again.
const (
	SessionsPerBot = 128
	SessionsMax    = 4096
)

// sessions knows whose each session of streamable HTTP is. It is what mcp-go
// asks for ids: each exists because initialize made it, belongs to one bot, and
// ends by DELETE, idleness, or the bounds above. They hold no state of ours and
// give no right: each request is authorised by its own token.
type sessions struct {
	end func(id string) // has mcp-go forget a session

	mu  sync.Mutex
	all map[string]*httpSession
}

type httpSession struct {
	bot  sandbox.Bot
	used time.Time
}

var errNoSession = errors.New("session not found")

func newSessions(end func(id string)) *sessions {
	return &sessions{end: end, all: map[string]*httpSession{}}
}

// use says whether a session is the bot's, and that it is in use.
func (s *sessions) use(id string, bot sandbox.Bot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[id]
	if x == nil || x.bot != bot {
		return false
	}
	x.used = time.Now()
	return true
}

// add makes a session and returns its id, and that of one that has to end for it.
func (s *sessions) add(bot sandbox.Bot) (id, surplus string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := 0
	for _, x := range s.all {
		if x.bot == bot {
			own++
		}
	}
	if own >= SessionsPerBot || len(s.all) >= SessionsMax {
		var oldest *httpSession
		for k, x := range s.all {
			if (own < SessionsPerBot || x.bot == bot) && (oldest == nil || x.used.Before(oldest.used)) {
				surplus, oldest = k, x
			}
		}
	}
	id = "mcp-session-" + uuid.NewString()
	s.all[id] = &httpSession{bot, time.Now()}
	return id, surplus
}

func (s *sessions) remove(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
}

// ResolveSessionIdManager implements server.SessionIdManagerResolver.
func (s *sessions) ResolveSessionIdManager(r *http.Request) server.SessionIdManager {
	if r == nil {
		return botSessions{s, ""} // the sweeper, which only terminates
	}
	return botSessions{s, botOf(r.Context())}
}

// botSessions are the sessions as one bot sees them.
type botSessions struct {
	*sessions
	bot sandbox.Bot
}

// Generate implements server.SessionIdManager.
func (s botSessions) Generate() string {
	id, surplus := s.add(s.bot)
	if surplus != "" {
		s.end(surplus)
	}
	return id
}

// Validate implements server.SessionIdManager.
func (s botSessions) Validate(id string) (terminated bool, err error) {
	if !s.use(id, s.bot) {
		return false, errNoSession
	}
	return false, nil
}

// Terminate implements server.SessionIdManager. Whose it is has been checked.
func (s botSessions) Terminate(id string) (notAllowed bool, err error) {
	s.remove(id)
	return false, nil
}
