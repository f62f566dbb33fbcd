// Checks this package with Go's own golang.org/x/mod/sumdb/{note,tlog}, which know nothing of us.
//
//	go mod init check && go get golang.org/x/mod && go run verify.go . "$(cat trusted-vkey)"
//
// 1. Opens the checkpoint with note.Open under the log's verifier key (or keys, one per line).
// 2. Takes every record of records.jsonl, and compares the hash of its leaf with the one that
//    tlog.TileHashReader proves from the tiles under tile/ to be in the signed tree at that index.
//
// Exit status 0 and "ok <records> of <size>" when all of it holds, 1 and the reason otherwise.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8
const batch = 256

// Go names tiles tile/8/<L>/<N>; C2SP leaves out the height.
type files struct{ directory string }

func (f files) Height() int                                { return height }
func (f files) SaveTiles(tiles []tlog.Tile, data [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(f.directory, name))
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

func openCheckpoint(directory, vkeys string) (tree tlog.Tree, err error) {
	var verifiers []note.Verifier
	for _, vkey := range strings.Fields(vkeys) {
		verifier, err := note.NewVerifier(vkey)
		if err != nil {
			continue // a key of a kind that this library does not know
		}
		verifiers = append(verifiers, verifier)
	}
	message, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(message, note.VerifierList(verifiers...))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != opened.Sigs[0].Name || lines[3] != "" {
		return tree, errors.New("not a checkpoint of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, errors.New("malformed root")
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

type record struct {
	Index int64  `json:"i"`
	Leaf  string `json:"leaf"`
}

func proven(hashes tlog.HashReader, records []record) error {
	var stored []int64
	for _, r := range records {
		stored = append(stored, tlog.StoredHashIndex(0, r.Index))
	}
	found, err := hashes.ReadHashes(stored)
	if err != nil {
		return err
	}
	for at, r := range records {
		if found[at] != tlog.RecordHash([]byte(r.Leaf)) {
			return fmt.Errorf("record %d is not the one in the tree", r.Index)
		}
	}
	return nil
}

func check(directory, vkeys string) (count, size int64, err error) {
	tree, err := openCheckpoint(directory, vkeys)
	if err != nil {
		return 0, 0, err
	}
	hashes := tlog.TileHashReader(tree, files{directory})
	file, err := os.Open(filepath.Join(directory, "records.jsonl"))
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(make([]byte, 1<<16), 1<<24)
	var waiting []record
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return 0, 0, err
		}
		if r.Index < 0 || r.Index >= tree.N {
			return 0, 0, fmt.Errorf("record %d is not in a tree of %d", r.Index, tree.N)
		}
		waiting = append(waiting, r)
		count++
		if len(waiting) == batch {
			if err := proven(hashes, waiting); err != nil {
				return 0, 0, err
			}
			waiting = nil
		}
	}
	if err := lines.Err(); err != nil {
		return 0, 0, err
	}
	if len(waiting) > 0 {
		err = proven(hashes, waiting)
	}
	return count, tree.N, err
}

func main() {
	if len(os.Args) != 3 {
		fmt.Println("usage: verify <directory> <vkey>")
		os.Exit(64)
	}
	count, size, err := check(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	fmt.Printf("ok %d of %d\n", count, size)
}
