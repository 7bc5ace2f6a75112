// go-zookeeper behind the line protocol of tests/interop/zookeeper_driver.py; its lock has no attempt that does not wait.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func contend(connection *zk.Conn, path, file, seconds string) int {
	length, err := strconv.ParseFloat(seconds, 64)
	fail(err)
	marks, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	fail(err)
	defer marks.Close()
	count := 0
	until := time.Now().Add(time.Duration(length * float64(time.Second)))
	for time.Now().Before(until) {
		lock := zk.NewLock(connection, path, zk.WorldACL(zk.PermAll))
		fail(lock.Lock())
		marks.WriteString("enter write library\n")
		time.Sleep(3 * time.Millisecond)
		marks.WriteString("leave write library\n")
		fail(lock.Unlock())
		count++
	}
	return count
}

func main() {
	connection, _, err := zk.Connect(strings.Split(os.Args[2], ","), 6*time.Second, zk.WithLogInfo(false))
	fail(err)
	held := map[string]*zk.Lock{}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		verb, path := words[0], words[2]
		answer := "yes"
		switch verb {
		case "lock":
			held[path] = zk.NewLock(connection, path, zk.WorldACL(zk.PermAll))
			fail(held[path].Lock())
		case "unlock":
			fail(held[path].Unlock())
		default:
			answer = strconv.Itoa(contend(connection, path, words[3], words[4]))
		}
		fmt.Println(answer)
	}
	connection.Close()
}
