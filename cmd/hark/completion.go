package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh, fish or powershell." enum:"bash,zsh,fish,powershell"`
}

// Help is the long help of the command.
func (c *completionCmd) Help() string {
	return `Print a script that completes commands and flags. To use it:

  bash:        source <(hark completion bash)
  zsh:         source <(hark completion zsh)
  fish:        hark completion fish | source
  PowerShell:  hark completion powershell | Out-String | Invoke-Expression`
}

func (c *completionCmd) Run(a *app, k *kong.Kong) error {
	places := placesOf(k.Model.Node, "hark", nil)
	script := map[string]func([]place) string{"bash": bash, "zsh": zsh, "fish": fish, "powershell": powershell}[c.Shell](places)
	_, err := fmt.Fprint(a.stdout, script)
	return err
}

// A place is where a command line may stand, as "hark need", with the words that go
// on from there.
type place struct {
	at    string
	words []word
	down  []string // those of words that lead to another place
}

// A word is a command or a flag; values are what may follow a flag.
type word struct {
	text, help string
	values     []string
}

// placesOf walks the grammar; inherited flags hold at every place below.
func placesOf(n *kong.Node, at string, inherited []word) []place {
	p := place{at: at}
	for _, f := range n.Flags {
		if f.Hidden {
			continue
		}
		w := word{text: "--" + f.Name, help: f.Help}
		if f.Enum != "" {
			for _, v := range f.EnumSlice() {
				if v != "" {
					w.values = append(w.values, v)
				}
			}
		}
		inherited = append(inherited[:len(inherited):len(inherited)], w)
		if f.Tag.Negatable != "" || f.Negated {
			inherited = append(inherited, word{text: "--no-" + f.Name, help: f.Help})
		}
	}
	var below []place
	for _, c := range n.Children {
		if c.Hidden || c.Type != kong.CommandNode {
			continue
		}
		p.words = append(p.words, word{text: c.Name, help: c.Help})
		p.down = append(p.down, c.Name)
		below = append(below, placesOf(c, at+" "+c.Name, inherited)...)
	}
	for _, arg := range n.Positional {
		if arg.Enum == "" {
			continue
		}
		for _, v := range arg.EnumSlice() {
			p.words = append(p.words, word{text: v, help: arg.Help})
		}
	}
	p.words = append(p.words, inherited...)
	return append([]place{p}, below...)
}

// enums are the flags with a fixed set of values, each once.
func enums(places []place) (out []word) {
	seen := map[string]bool{}
	for _, p := range places {
		for _, w := range p.words {
			if len(w.values) > 0 && !seen[w.text] {
				seen[w.text] = true
				out = append(out, w)
			}
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].text < out[j].text })
	return out
}

func (p place) texts() string {
	all := make([]string, len(p.words))
	for i, w := range p.words {
		all[i] = w.text
	}
	return strings.Join(all, " ")
}

// steps writes one line of format for each command that leads on: the words so far,
// and the command.
func steps(places []place, format string) string {
	var b strings.Builder
	for _, p := range places {
		for _, d := range p.down {
			fmt.Fprintf(&b, format, p.at, d)
		}
	}
	return b.String()
}

func bash(places []place) string {
	var b strings.Builder
	b.WriteString("# bash completion for hark\n_hark() {\n  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" at=hark i\n" +
		"  for ((i = 1; i < COMP_CWORD; i++)); do\n    case \"$at ${COMP_WORDS[i]}\" in\n")
	b.WriteString(steps(places, "      \"%s %s\") at=\"$at ${COMP_WORDS[i]}\" ;;\n"))
	b.WriteString("    esac\n  done\n  COMPREPLY=()\n  case \"$prev\" in\n")
	for _, w := range enums(places) {
		fmt.Fprintf(&b, "    %s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", w.text, strings.Join(w.values, " "))
	}
	b.WriteString("  esac\n  case \"$at\" in\n")
	for _, p := range places {
		fmt.Fprintf(&b, "    \"%s\") COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n", p.at, p.texts())
	}
	b.WriteString("  esac\n}\ncomplete -o default -F _hark hark\n")
	return b.String()
}

func zsh(places []place) string {
	var b strings.Builder
	b.WriteString("#compdef hark\n# zsh completion for hark\n_hark() {\n  local at=hark w\n  local -a found\n" +
		"  for w in ${words[2,CURRENT-1]}; do\n    case \"$at $w\" in\n")
	b.WriteString(steps(places, "      \"%s %s\") at=\"$at $w\" ;;\n"))
	b.WriteString("    esac\n  done\n  case \"${words[CURRENT-1]}\" in\n")
	for _, w := range enums(places) {
		fmt.Fprintf(&b, "    %s) compadd -- %s; return ;;\n", w.text, strings.Join(w.values, " "))
	}
	b.WriteString("  esac\n  case \"$at\" in\n")
	for _, p := range places {
		fmt.Fprintf(&b, "    \"%s\") found=(\n", p.at)
		for _, w := range p.words {
			fmt.Fprintf(&b, "      '%s:%s'\n", w.text, quoteShell(strings.ReplaceAll(w.help, ":", `\:`)))
		}
		b.WriteString("    ) ;;\n")
	}
	b.WriteString("  esac\n  _describe hark found || _files\n}\nif [ \"$funcstack[1]\" = _hark ]; then _hark; else compdef _hark hark; fi\n")
	return b.String()
}

// quoteShell makes text safe between single quotes.
func quoteShell(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }

func fish(places []place) string {
	var b strings.Builder
	b.WriteString("# fish completion for hark\nfunction __hark_at\n    set -l at hark\n    for w in (commandline -opc)[2..-1]\n        switch \"$at $w\"\n")
	b.WriteString(steps(places, "            case '%s %s'\n                set at \"$at $w\"\n"))
	b.WriteString("        end\n    end\n    test \"$at\" = \"$argv\"\nend\n")
	for _, p := range places {
		for _, w := range p.words {
			help := strings.ReplaceAll(strings.ReplaceAll(w.help, `\`, `\\`), "'", `\'`)
			name, isFlag := strings.CutPrefix(w.text, "--")
			switch {
			case !isFlag:
				fmt.Fprintf(&b, "complete -c hark -n '__hark_at %s' -f -a %s -d '%s'\n", p.at, w.text, help)
			case len(w.values) > 0:
				fmt.Fprintf(&b, "complete -c hark -n '__hark_at %s' -l %s -x -a '%s' -d '%s'\n", p.at, name, strings.Join(w.values, " "), help)
			default:
				fmt.Fprintf(&b, "complete -c hark -n '__hark_at %s' -l %s -d '%s'\n", p.at, name, help)
			}
		}
	}
	return b.String()
}

func powershell(places []place) string {
	var b strings.Builder
	b.WriteString("# PowerShell completion for hark\nRegister-ArgumentCompleter -Native -CommandName hark -ScriptBlock {\n" +
		"  param($wordToComplete, $commandAst, $cursorPosition)\n  $at = 'hark'\n  $prev = ''\n  $steps = @(\n")
	b.WriteString(steps(places, "    '%s %s'\n"))
	b.WriteString("  )\n  $words = @($commandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $cursorPosition } | ForEach-Object { $_.ToString() })\n" +
		"  foreach ($w in @($words | Select-Object -Skip 1)) {\n    if ($steps -ccontains \"$at $w\") { $at = \"$at $w\" }\n    $prev = $w\n  }\n" +
		"  $values = @{\n")
	for _, w := range enums(places) {
		fmt.Fprintf(&b, "    '%s' = '%s'\n", w.text, strings.Join(w.values, " "))
	}
	b.WriteString("  }\n  $places = @{\n")
	for _, p := range places {
		fmt.Fprintf(&b, "    '%s' = '%s'\n", p.at, p.texts())
	}
	b.WriteString("  }\n  $found = if ($values.ContainsKey($prev)) { $values[$prev] } else { $places[$at] }\n" +
		"  $found -split ' ' | Where-Object { $_ -like \"$wordToComplete*\" } | ForEach-Object {\n" +
		"    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)\n  }\n}\n")
	return b.String()
}
