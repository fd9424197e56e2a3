package tools

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"moorage/sandbox"
)

const (
	// TokensMax is how many tokens there may be.
	TokensMax = 1000

	tokenPrefix  = "moor_"
	tokenBytes   = 32
	tokensFormat = 1
	tokensBytes  = 1 << 20 // of the file: 1000 tokens are about 200 KB
)

// Errors of Tokens.
var (
	ErrTooManyTokens = fmt.Errorf("there are %d tokens already, which is the most; revoke some", TokensMax)
	ErrNoToken       = errors.New("no such token")
)

// TokenStore tells whose a bearer token is.
type TokenStore interface {
	// Lookup returns the token's bot, or false for a token that is not, or no
	// longer, valid. It is called for each HTTP request.
	Lookup(token string) (sandbox.Bot, bool)
}

// Token is what is known of a token. The token itself is not.
type Token struct {
	ID        string      `json:"id"`
	Bot       sandbox.Bot `json:"bot"`
	Hash      string      `json:"sha256"` // hex, of the whole token
	CreatedAt time.Time   `json:"created_at"`
}

// Tokens is a file of bearer tokens, of mode 0600. Several processes may use one
// at once: changes are made under a lock and replace the file atomically, and
// Lookup reads the file again when it has changed.
type Tokens struct {
	path string

	mu    sync.Mutex
	seen  fileState
	known []known
}

type known struct {
	hash [sha256.Size]byte
	bot  sandbox.Bot
}

// fileState changes whenever the file does.
type fileState struct {
	inode   uint64
	size    int64
	changed syscall.Timespec
}

// OpenTokens uses the file at path, which need not exist yet. It does nothing.
func OpenTokens(path string) *Tokens { return &Tokens{path: path} }

// Add makes a token for a bot. The token is returned here and never again; id
// names it from now on.
func (t *Tokens) Add(bot sandbox.Bot) (token, id string, err error) {
	if _, err := sandbox.ParseBot(string(bot)); err != nil {
		return "", "", err
	}
	var secret [tokenBytes]byte
	rand.Read(secret[:])
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(secret[:])
	hash := sha256.Sum256([]byte(token))
	made := Token{ID: reference(), Bot: bot, Hash: hex.EncodeToString(hash[:]), CreatedAt: time.Now().UTC().Truncate(time.Second)}
	err = t.change(func(all []Token) ([]Token, error) {
		if len(all) >= TokensMax {
			return nil, ErrTooManyTokens
		}
		return append(all, made), nil
	})
	if err != nil {
		return "", "", fmt.Errorf("add token: %w", err)
	}
	return token, made.ID, nil
}

// List returns all tokens, by bot and then by age.
func (t *Tokens) List() ([]Token, error) {
	all, err := t.read()
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	slices.SortStableFunc(all, func(a, b Token) int {
		return cmp.Or(cmp.Compare(a.Bot, b.Bot), a.CreatedAt.Compare(b.CreatedAt))
	})
	return all, nil
}

// Revoke makes tokens invalid: those of the ids, and all of bot if it is not "".
// It returns how many there were. ErrNoToken if one of the ids does not exist,
// or bot has none; then none is revoked.
func (t *Tokens) Revoke(ids []string, bot sandbox.Bot) (n int, err error) {
	err = t.change(func(all []Token) ([]Token, error) {
		for _, id := range ids {
			if !slices.ContainsFunc(all, func(x Token) bool { return x.ID == id }) {
				return nil, fmt.Errorf("%w: %.80q", ErrNoToken, id)
			}
		}
		if bot != "" && !slices.ContainsFunc(all, func(x Token) bool { return x.Bot == bot }) {
			return nil, fmt.Errorf("%w: bot %.80q has none", ErrNoToken, bot)
		}
		left := slices.DeleteFunc(slices.Clone(all), func(x Token) bool {
			return slices.Contains(ids, x.ID) || bot != "" && x.Bot == bot
		})
		n = len(all) - len(left)
		return left, nil
	})
	if err != nil {
		return 0, fmt.Errorf("revoke token: %w", err)
	}
	return n, nil
}

// Lookup implements TokenStore. A file that cannot be read admits nobody. Every
// known hash is compared, each in constant time.
func (t *Tokens) Lookup(token string) (sandbox.Bot, bool) {
	if !strings.HasPrefix(token, tokenPrefix) || len(token) > 100 {
		return "", false
	}
	hash := sha256.Sum256([]byte(token))
	bot, ok := sandbox.Bot(""), false
	for _, k := range t.current() {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			bot, ok = k.bot, true
		}
	}
	return bot, ok
}

// current returns what the file holds, which is read only when it has changed.
func (t *Tokens) current() []known {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err != nil {
		t.seen, t.known = fileState{}, nil
		return nil
	}
	sys := info.Sys().(*syscall.Stat_t)
	now := fileState{sys.Ino, info.Size(), sys.Ctim}
	if now == t.seen {
		return t.known
	}
	all, err := t.read()
	if err != nil {
		t.seen, t.known = fileState{}, nil
		return nil
	}
	t.seen, t.known = now, make([]known, 0, len(all))
	for _, x := range all {
		k := known{bot: x.Bot}
		if n, err := hex.Decode(k.hash[:], []byte(x.Hash)); err == nil && n == len(k.hash) {
			t.known = append(t.known, k)
		}
	}
	return t.known
}

type tokensFile struct {
	Format int     `json:"format"`
	Tokens []Token `json:"tokens"`
}

// read returns what the file holds; a file that is not there holds nothing.
func (t *Tokens) read() ([]Token, error) {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, tokensBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > tokensBytes {
		return nil, fmt.Errorf("read %s: more than %d bytes", t.path, tokensBytes)
	}
	var all tokensFile
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", t.path, err)
	}
	if all.Format != tokensFormat {
		return nil, fmt.Errorf("read %s: format %d, this version reads %d", t.path, all.Format, tokensFormat)
	}
	return all.Tokens, nil
}

// change replaces the file's tokens, under a lock of all processes.
func (t *Tokens) change(edit func([]Token) ([]Token, error)) error {
	lock, err := os.OpenFile(t.path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // frees it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	all, err := t.read()
	if err != nil {
		return err
	}
	if all, err = edit(all); err != nil {
		return err
	}
	b, err := json.MarshalIndent(tokensFile{tokensFormat, all}, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(t.path, append(b, '\n'))
}

// replaceFile writes a file of mode 0600 so that after a crash there is the old
// or the new one.
func replaceFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
