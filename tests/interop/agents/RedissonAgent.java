import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.redisson.Redisson;
import org.redisson.api.RLock;
import org.redisson.api.RedissonClient;
import org.redisson.config.Config;

/** Redisson behind the line protocol of tests/interop/redis_driver.py. */
public class RedissonAgent {
    static boolean give(RLock lock) {
        try {
            lock.unlock();
            return true;
        } catch (IllegalMonitorStateException notOurs) {
            return false;
        }
    }

    /** Without a TTL the lock is Redisson's watchdog's. */
    static void take(RLock lock, long ttl) {
        if (ttl == 0) {
            lock.lock();
        } else {
            lock.lock(ttl, TimeUnit.MILLISECONDS);
        }
    }

    static int contend(RLock lock, long ttl, Path marks, double seconds) throws Exception {
        int count = 0;
        long until = System.nanoTime() + (long) (seconds * 1e9);
        while (System.nanoTime() < until) {
            take(lock, ttl);
            Files.writeString(marks, "enter library\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            Thread.sleep(3);
            Files.writeString(marks, "leave library\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            give(lock);
            count++;
        }
        return count;
    }

    public static void main(String[] args) throws Exception {
        Config config = new Config();
        config.useSingleServer().setAddress(args[1]).setConnectionMinimumIdleSize(2).setConnectionPoolSize(4);
        RedissonClient client = Redisson.create(config);
        Map<String, RLock> locks = new HashMap<>();
        System.out.println("ready");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            String name = words[1];
            RLock lock = locks.computeIfAbsent(
                    name, key -> args[0].equals("redisson-fair") ? client.getFairLock(key) : client.getLock(key));
            long ttl = words.length > 2 ? Long.parseLong(words[2]) : 0;
            switch (words[0]) {
                case "lock" -> {
                    take(lock, ttl);
                    System.out.println("yes");
                }
                case "try" -> System.out.println(
                        lock.tryLock(0, ttl == 0 ? -1 : ttl, TimeUnit.MILLISECONDS) ? "yes" : "no");
                case "unlock" -> System.out.println(give(lock) ? "yes" : "lost");
                default -> System.out.println(contend(lock, ttl, Path.of(words[3]), Double.parseDouble(words[4])));
            }
        }
        client.shutdown();
    }
}
