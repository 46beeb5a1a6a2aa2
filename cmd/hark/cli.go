package main

import (
	"time"

	"github.com/alecthomas/kong"
)

// groups are the parts of the help, in this order.
var groups = []kong.Group{
	{Key: "node", Title: "The node:"},
	{Key: "network", Title: "The network:"},
	{Key: "customer", Title: "For customers:"},
	{Key: "both", Title: "For both sides:"},
	{Key: "vendor", Title: "For vendors:"},
	{Key: "research", Title: "For researchers:"},
	{Key: "show", Title: "Demonstration:"},
}

// cli is the grammar of all commands.
//
//house:allow fields one field for each command is what the parser asks for
type cli struct {
	Home    string         `help:"Keep everything of the node below this folder." env:"HARK_HOME" placeholder:"DIR"`
	API     string         `name:"api" help:"Talk to this node: its api.json, the folder of it, or a URL with the token in the file that HARK_TOKEN_FILE names." env:"HARK_API" placeholder:"WHERE"`
	JSON    bool           `name:"json" help:"Print JSON with a schema."`
	Timeout *time.Duration `help:"Give up after this long (2m where nothing is said; hark events then goes on)." env:"HARK_TIMEOUT" placeholder:"SPAN"`

	Init       initCmd       `cmd:"" help:"Make a new node: keys, folders, network." group:"node"`
	Run        runCmd        `cmd:"" default:"withargs" help:"Run the node (the same as hark alone)." group:"node"`
	Stop       stopCmd       `cmd:"" help:"Stop the running node, and wait until it is down." group:"node"`
	Status     statusCmd     `cmd:"" help:"How the node is: problems first, each with the command that mends it." group:"node"`
	Paths      pathsCmd      `cmd:"" help:"Where the node keeps its files." group:"node"`
	Unlock     unlockCmd     `cmd:"" help:"Open the vault." group:"node"`
	Lock       lockCmd       `cmd:"" help:"Close the vault." group:"node"`
	Rekey      rekeyCmd      `cmd:"" help:"Change the passphrase, or what else opens the node's keys." group:"node"`
	Events     eventsCmd     `cmd:"" help:"Follow what happens." group:"node"`
	Letters    lettersCmd    `cmd:"" help:"Letters as this node sent or received them." group:"node"`
	Version    versionCmd    `cmd:"" help:"The version of this program." group:"node"`
	Completion completionCmd `cmd:"" help:"Completion script for a shell." group:"node"`

	ID       idCmd       `cmd:"" name:"id" help:"Who this node is." group:"network"`
	Peers    peersCmd    `cmd:"" help:"The public nodes that this one knows." group:"network"`
	Network  networkCmd  `cmd:"" help:"Make or show a network." group:"network"`
	Netcheck netcheckCmd `cmd:"" help:"Look how the network does from here: yes, no, or not known yet." group:"network"`

	Need     needCmd     `cmd:"" help:"What you want: announce it, change it, take it back." group:"customer"`
	Interest interestCmd `cmd:"" help:"What you are interested in, for months." group:"customer"`
	Request  requestCmd  `cmd:"" help:"Vendors' requests for access." group:"customer"`
	Consent  consentCmd  `cmd:"" help:"What decides on requests by itself, and how often you are asked." group:"customer"`
	Vault    vaultCmd    `cmd:"" help:"Your own data." group:"customer"`

	Grant  grantCmd  `cmd:"" help:"Who may see what, until when." group:"both"`
	Offer  offerCmd  `cmd:"" help:"Offers under grants." group:"both"`
	Deal   dealCmd   `cmd:"" help:"What became of accepted offers." group:"both"`
	Ledger ledgerCmd `cmd:"" help:"The tamper-evident record." group:"both"`

	Passport passportCmd `cmd:"" help:"The public record of a vendor." group:"vendor"`
	Catalog  catalogCmd  `cmd:"" help:"What you sell." group:"vendor"`
	Board    boardCmd    `cmd:"" help:"Announcements heard." group:"vendor"`
	Follow   followCmd   `cmd:"" help:"Which announcements you listen for." group:"vendor"`
	Access   accessCmd   `cmd:"" help:"Requests that you sent; ask for access." group:"vendor"`
	Answer   answerCmd   `cmd:"" help:"What you do by yourself when access is granted." group:"vendor"`
	Held     heldCmd     `cmd:"" help:"What you hold of customers." group:"vendor"`

	Lab labCmd `cmd:"" help:"Experiments on networks of nodes, with result folders that can be run again." group:"research"`

	Demo demoCmd `cmd:"" help:"Show the whole market at work, on this machine alone." group:"show"`
}
