// redsync behind the line protocol of tests/interop/redis_driver.py.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredislib "github.com/redis/go-redis/v9"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func milliseconds(word string) time.Duration {
	number, err := strconv.Atoi(word)
	fail(err)
	return time.Duration(number) * time.Millisecond
}

func contend(patient func() *redsync.Mutex, path string, seconds string) int {
	length, err := strconv.ParseFloat(seconds, 64)
	fail(err)
	marks, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	fail(err)
	defer marks.Close()
	count := 0
	until := time.Now().Add(time.Duration(length * float64(time.Second)))
	for time.Now().Before(until) {
		mutex := patient()
		if mutex.Lock() != nil {
			continue
		}
		marks.WriteString("enter library\n")
		time.Sleep(3 * time.Millisecond)
		marks.WriteString("leave library\n")
		mutex.Unlock()
		count++
	}
	return count
}

func main() {
	options, err := goredislib.ParseURL(os.Args[1])
	fail(err)
	locks := redsync.New(goredis.NewPool(goredislib.NewClient(options)))
	held := map[string]*redsync.Mutex{}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		verb, key := words[0], words[1]
		mutex := func(tries int) *redsync.Mutex {
			return locks.NewMutex(key, redsync.WithExpiry(milliseconds(words[2])), redsync.WithTries(tries))
		}
		answer := "yes"
		switch verb {
		case "lock", "try":
			tries := 1
			if verb == "lock" {
				tries = 10000
			}
			held[key] = mutex(tries)
			if held[key].Lock() != nil {
				answer = "no"
			}
		case "unlock":
			if ours, err := held[key].Unlock(); !ours || err != nil {
				answer = "lost"
			}
		default:
			answer = strconv.Itoa(contend(func() *redsync.Mutex { return mutex(10000) }, words[3], words[4]))
		}
		fmt.Println(answer)
	}
}
