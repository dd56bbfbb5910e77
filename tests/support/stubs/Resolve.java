import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Hashtable;
import javax.naming.CommunicationException;
import javax.naming.Context;
import javax.naming.NameNotFoundException;
import javax.naming.NamingException;
import javax.naming.ServiceUnavailableException;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

/**
 * Resolve SERVER NAME...: lines "NAME ADDRESS" or "NAME error: ..." by Java's own DNS client, that of JNDI;
 * Resolve system NAME...: the same by InetAddress, as most programs of Java do.
 */
public class Resolve {
    public static void main(String[] words) throws NamingException {
        InitialDirContext dns = words[0].equals("system") ? null : client(words[0]);
        for (int i = 1; i < words.length; i++) {
            if (dns == null) {
                print(words[i]);
            } else {
                print(dns, words[i]);
            }
        }
    }

    private static InitialDirContext client(String server) throws NamingException {
        Hashtable<String, String> settings = new Hashtable<>();
        settings.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.dns.DnsContextFactory");
        settings.put(Context.PROVIDER_URL, "dns://" + server);
        return new InitialDirContext(settings);
    }

    private static void print(String name) {
        try {
            for (InetAddress address : InetAddress.getAllByName(name)) {
                System.out.println(name + " " + address.getHostAddress());
            }
        } catch (UnknownHostException failed) {
            System.out.println(name + " error: " + (failed.getMessage().contains("Temporary") ? "again" : "none"));
        }
    }

    private static void print(InitialDirContext dns, String name) throws NamingException {
        boolean some = false;
        try {
            for (String type : new String[] {"A", "AAAA"}) {
                Attribute found = dns.getAttributes(name, new String[] {type}).get(type);
                for (int i = 0; found != null && i < found.size(); i++, some = true) {
                    System.out.println(name + " " + found.get(i));
                }
            }
            if (!some) {
                System.out.println(name + " error: none");
            }
        } catch (NameNotFoundException missing) {
            System.out.println(name + " error: none");
        } catch (ServiceUnavailableException | CommunicationException failed) {
            System.out.println(name + " error: again");
        }
    }
}
