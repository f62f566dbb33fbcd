// Reads a C2SP tiled log with Go's own golang.org/x/mod/sumdb/{note,tlog}, which know nothing of us.
//
//	go_sumdb <directory> <vkey>
//	go_sumdb -                      the same for each "directory TAB vkey" line of its input
//
// 1. Opens the checkpoint with note.Open under the verifier key.
// 2. Compares every leaf with the hashes that tlog.TileHashReader proved from the tile files, and
//    makes and checks an inclusion proof (tlog.ProveRecord, tlog.CheckRecord) at both ends of each
//    entry bundle.
// 3. Proves by tlog.CheckTree that the log extends its own first half.
//
// Exit status 0 and "ok <size>" when all of it holds, 1 and the reason otherwise.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
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

// Go names tiles tile/8/<L>/<N>; C2SP leaves out the height and says "entries" for "data".
func read(directory string, tile tlog.Tile) ([]byte, error) {
	name := func(t tlog.Tile) string {
		path := strings.Replace(t.Path(), "tile/8/data/", "tile/entries/", 1)
		return filepath.Join(directory, strings.Replace(path, "tile/8/", "tile/", 1))
	}
	data, err := os.ReadFile(name(tile))
	if errors.Is(err, os.ErrNotExist) && tile.W < 1<<height {
		full := tile
		full.W = 1 << height
		data, err = os.ReadFile(name(full))
		if err == nil && tile.L >= 0 {
			data = data[:tile.W*tlog.HashSize]
		}
	}
	return data, err
}

type files struct{ directory string }

func (f files) Height() int                                  { return height }
func (f files) SaveTiles(tiles []tlog.Tile, data [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, tile := range tiles {
		data, err := read(f.directory, tile)
		if err != nil {
			return nil, err
		}
		out = append(out, data)
	}
	return out, nil
}

func openCheckpoint(directory, vkey string) (tree tlog.Tree, err error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	message, err := os.ReadFile(filepath.Join(directory, "checkpoint"))
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(message, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tree, errors.New("not a checkpoint of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	if tree.N < 0 || strconv.FormatInt(tree.N, 10) != lines[1] {
		return tree, errors.New("malformed size")
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, errors.New("malformed root")
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

func entries(directory string, n, size int64) ([][]byte, error) {
	width := size - n<<height
	if width > 1<<height {
		width = 1 << height
	}
	data, err := read(directory, tlog.Tile{H: height, L: -1, N: n, W: int(width)})
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for int64(len(out)) < width {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("entry bundle cut short")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		out = append(out, data[2:end])
		data = data[end:]
	}
	return out, nil
}

func check(directory, vkey string) (int64, error) {
	tree, err := openCheckpoint(directory, vkey)
	if err != nil {
		return 0, err
	}
	if tree.N == 0 && tree.Hash != sha256.Sum256(nil) {
		return 0, errors.New("the root of the empty tree is the hash of nothing")
	}
	hashes := tlog.TileHashReader(tree, files{directory})
	for n := int64(0); n<<height < tree.N; n++ {
		bundle, err := entries(directory, n, tree.N)
		if err != nil {
			return 0, err
		}
		var stored []int64
		for at := range bundle {
			stored = append(stored, tlog.StoredHashIndex(0, n<<height+int64(at)))
		}
		proven, err := hashes.ReadHashes(stored)
		if err != nil {
			return 0, err
		}
		for at, entry := range bundle {
			index := n<<height + int64(at)
			if proven[at] != tlog.RecordHash(entry) {
				return 0, fmt.Errorf("record %d is not the one in the tree", index)
			}
			if at > 0 && at < len(bundle)-1 {
				continue
			}
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return 0, err
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
				return 0, fmt.Errorf("record %d: %v", index, err)
			}
		}
	}
	if old := tree.N / 2; old > 0 {
		oldHash, err := tlog.TreeHash(old, hashes)
		if err != nil {
			return 0, err
		}
		proof, err := tlog.ProveTree(tree.N, old, hashes)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old, oldHash); err != nil {
			return 0, err
		}
	}
	return tree.N, nil
}

func say(directory, vkey string) bool {
	size, err := check(directory, vkey)
	if err != nil {
		fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		return false
	}
	fmt.Println("ok", size)
	return true
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "-" {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			directory, vkey, _ := strings.Cut(lines.Text(), "\t")
			say(directory, vkey)
		}
		return
	}
	if len(os.Args) != 3 {
		fmt.Println("usage: go_sumdb <directory> <vkey>")
		os.Exit(64)
	}
	if !say(os.Args[1], os.Args[2]) {
		os.Exit(1)
	}
}
