package tools

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"moorage/sandbox"
)

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	server, admin := OpenTokens(path), OpenTokens(path) // two processes
	if bot, ok := server.Lookup("moor_x"); ok {
		t.Errorf("without a file a token is %s's", bot)
	}
	a, idA, err := admin.Add("alice")
	if err != nil || !strings.HasPrefix(a, "moor_") || len(a) != len("moor_")+43 {
		t.Fatalf("%q %v", a, err)
	}
	b, _, err := admin.Add("bob")
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]sandbox.Bot{a: "alice", b: "bob", a + "x": "", a[:len(a)-1]: "", "": "", "moor_": "", idA: ""} {
		if bot, ok := server.Lookup(token); bot != want || ok != (want != "") {
			t.Errorf("%q is %q's", token, bot)
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(raw), a) || strings.Contains(string(raw), a[5:]) {
		t.Errorf("the file holds the token, or %v", err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	all, err := admin.List()
	if err != nil || len(all) != 2 || all[0].Bot != "alice" || all[0].ID != idA || all[0].CreatedAt.IsZero() {
		t.Errorf("%+v %v", all, err)
	}
	if _, err := admin.Revoke([]string{idA, "nosuch"}, ""); !errors.Is(err, ErrNoToken) {
		t.Errorf("%v", err)
	}
	if _, ok := server.Lookup(a); !ok {
		t.Error("a revocation that failed revoked")
	}
	if n, err := admin.Revoke([]string{idA}, ""); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if _, ok := server.Lookup(a); ok {
		t.Error("a revoked token is valid")
	}
	if n, err := admin.Revoke(nil, "bob"); n != 1 || err != nil {
		t.Errorf("%d %v", n, err)
	}
	if _, err := admin.Revoke(nil, "bob"); !errors.Is(err, ErrNoToken) {
		t.Errorf("%v", err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".tokens*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTokensOfABadFileAdmitNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	tokens := OpenTokens(path)
	a, _, err := tokens.Add("alice")
	if err != nil {
		t.Fatal(err)
	}
	good, _ := os.ReadFile(path)
	for _, bad := range []string{"", "{", `{"format":99,"tokens":[]}`, strings.Repeat(" ", tokensBytes+1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := tokens.Lookup(a); ok {
			t.Errorf("%.20q admits", bad)
		}
		if _, _, err := tokens.Add("bob"); err == nil {
			t.Errorf("%.20q is overwritten", bad)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := tokens.Lookup(a); !ok {
		t.Error("a mended file does not admit")
	}
	if _, _, err := tokens.Add("no/bot"); !errors.Is(err, sandbox.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestTokensOfManyWritersAreAllKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			token, _, err := OpenTokens(path).Add(sandbox.Bot(fmt.Sprint("bot", i)))
			if _, ok := OpenTokens(path).Lookup(token); err != nil || !ok {
				t.Errorf("bot%d: %v %v", i, ok, err)
			}
		})
	}
	wg.Wait()
	if all, err := OpenTokens(path).List(); len(all) != 20 || err != nil {
		t.Errorf("%d tokens, %v", len(all), err)
	}
}

func TestTokensAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.json")
	tokens := OpenTokens(path)
	err := tokens.change(func([]Token) ([]Token, error) { return make([]Token, TokensMax-1), nil })
	if err != nil {
		t.Fatal(err)
	}
	last, _, err := tokens.Add("bot")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := tokens.Add("bot"); !errors.Is(err, ErrTooManyTokens) {
		t.Errorf("%v", err)
	}
	if bot, _ := tokens.Lookup(last); bot != "bot" {
		t.Errorf("%q", bot)
	}
}
