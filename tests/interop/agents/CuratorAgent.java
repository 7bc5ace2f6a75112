import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.retry.RetryOneTime;

/** Curator behind the line protocol of tests/interop/zookeeper_driver.py. */
public class CuratorAgent {
    static CuratorFramework client;
    static boolean hasReaders;

    static InterProcessMutex lock(String mode, String path) {
        if (!hasReaders) {
            return new InterProcessMutex(client, path);
        }
        InterProcessReadWriteLock pair = new InterProcessReadWriteLock(client, path);
        return mode.equals("read") ? pair.readLock() : pair.writeLock();
    }

    static void mark(Path marks, String word, String mode) throws Exception {
        String line = word + " " + mode + " library\n";
        Files.writeString(marks, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    static int contend(String mode, String path, Path marks, double seconds) throws Exception {
        int count = 0;
        long until = System.nanoTime() + (long) (seconds * 1e9);
        while (System.nanoTime() < until) {
            InterProcessMutex lock = lock(mode, path);
            lock.acquire();
            mark(marks, "enter", mode);
            Thread.sleep(3);
            mark(marks, "leave", mode);
            lock.release();
            count++;
        }
        return count;
    }

    public static void main(String[] args) throws Exception {
        hasReaders = args[0].equals("curator-rw");
        client = CuratorFrameworkFactory.newClient(args[1], 6000, 5000, new RetryOneTime(100));
        client.start();
        client.blockUntilConnected();
        Map<String, InterProcessMutex> held = new HashMap<>();
        System.out.println("ready");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            String mode = words[1], path = words[2];
            String answer = "yes";
            switch (words[0]) {
                case "lock" -> {
                    held.put(path, lock(mode, path));
                    held.get(path).acquire();
                }
                case "try" -> {
                    InterProcessMutex lock = lock(mode, path);
                    if (lock.acquire(0, TimeUnit.MILLISECONDS)) {
                        held.put(path, lock);
                    } else {
                        answer = "no";
                    }
                }
                case "unlock" -> held.remove(path).release();
                default -> answer = "" + contend(mode, path, Path.of(words[3]), Double.parseDouble(words[4]));
            }
            System.out.println(answer);
        }
        client.close();
    }
}
