package tools

import (
	"path"
	"strings"

	"github.com/gabriel-vasile/mimetype"

	"moorage/fsbridge"
)

// textTypes are types of text that only a name's extension tells.
var textTypes = map[string]string{
	".c": "text/x-c", ".cc": "text/x-c++", ".cpp": "text/x-c++", ".cs": "text/x-csharp", ".css": "text/css",
	".csv": "text/csv", ".diff": "text/x-diff", ".go": "text/x-go", ".h": "text/x-c", ".html": "text/html",
	".java": "text/x-java", ".js": "text/javascript", ".json": "application/json", ".jsx": "text/jsx",
	".kt": "text/x-kotlin", ".md": "text/markdown", ".mjs": "text/javascript", ".patch": "text/x-diff",
	".php": "text/x-php", ".py": "text/x-python", ".rb": "text/x-ruby", ".rs": "text/x-rust",
	".sh": "text/x-shellscript", ".sql": "application/sql", ".svg": "image/svg+xml", ".toml": "application/toml",
	".ts": "text/typescript", ".tsx": "text/tsx", ".txt": "text/plain; charset=utf-8", ".xml": "text/xml", ".yaml": "application/yaml", ".yml": "application/yaml",
}

// mimeType tells a file's type by its name where its first bytes are text, and
// else, or when the name says nothing, by those.
func mimeType(name fsbridge.Path, head []byte) string {
	if t, ok := textTypes[strings.ToLower(path.Ext(string(name)))]; ok && fsbridge.IsText(head[:wholeRunes(head)]) {
		return t
	}
	return mimetype.Detect(head).String()
}

// isImage says that a type is one that models are shown.
func isImage(mime string) bool {
	switch mime {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return true
	}
	return false
}
