package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"moorage/cmd/moorage/daemon"
	"moorage/sandbox"
	"moorage/tools"
)

type tokenCmd struct {
	Add    tokenAddCmd    `cmd:"" help:"Make a token for a bot and print it, this once."`
	List   tokenListCmd   `cmd:"" help:"List tokens: id, bot, when they were made."`
	Revoke tokenRevokeCmd `cmd:"" help:"Revoke tokens by id, or all of a bot."`
}

type tokenAddCmd struct {
	Bot string `help:"The bot that the token belongs to." required:"" placeholder:"NAME"`
}

// Run makes a token. It is printed alone on standard output, for $(...).
func (c *tokenAddCmd) Run(d daemon.Dirs) error {
	bot, err := sandbox.ParseBot(c.Bot)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(d.Root, 0o711); err != nil {
		return fmt.Errorf("add token: %w", err)
	}
	token, id, err := tools.OpenTokens(d.Tokens()).Add(bot)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "token %s for bot %s; it is not shown again\n", id, bot)
	fmt.Println(token)
	return nil
}

type tokenListCmd struct{}

// Run lists the tokens, never what they are.
func (c *tokenListCmd) Run(d daemon.Dirs) error {
	all, err := tools.OpenTokens(d.Tokens()).List()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tBOT\tCREATED")
	for _, t := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\n", t.ID, t.Bot, t.CreatedAt.Local().Format("2006-01-02 15:04:05"))
	}
	return w.Flush()
}

type tokenRevokeCmd struct {
	ID  []string `arg:"" optional:"" help:"Ids as in moorage token list."`
	Bot string   `help:"Revoke all tokens of this bot." placeholder:"NAME"`
}

// Run revokes.
func (c *tokenRevokeCmd) Run(d daemon.Dirs) error {
	if len(c.ID) == 0 && c.Bot == "" {
		return fmt.Errorf("revoke token: name ids, as `moorage token list` shows them, or --bot NAME")
	}
	n, err := tools.OpenTokens(d.Tokens()).Revoke(c.ID, sandbox.Bot(c.Bot))
	if err != nil {
		return err
	}
	fmt.Printf("revoked %d tokens\n", n)
	return nil
}
