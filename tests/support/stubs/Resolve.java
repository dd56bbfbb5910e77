import java.util.Hashtable;
import javax.naming.CommunicationException;
import javax.naming.Context;
import javax.naming.NameNotFoundException;
import javax.naming.NamingException;
import javax.naming.ServiceUnavailableException;
import javax.naming.directory.Attribute;
import javax.naming.directory.InitialDirContext;

/** Resolve SERVER NAME...: the addresses of each name by Java's own DNS client, that of JNDI, one a line. */
public class Resolve {
    public static void main(String[] words) throws NamingException {
        Hashtable<String, String> settings = new Hashtable<>();
        settings.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.dns.DnsContextFactory");
        settings.put(Context.PROVIDER_URL, "dns://" + words[0]);
        InitialDirContext dns = new InitialDirContext(settings);
        for (int i = 1; i < words.length; i++) {
            print(dns, words[i]);
        }
    }

    private static void print(InitialDirContext dns, String name) throws NamingException {
        boolean some = false;
        try {
            for (String type : new String[] {"A", "AAAA"}) {
                Attribute found = dns.getAttributes(name, new String[] {type}).get(type);
                for (int i = 0; found != null && i < found.size(); i++, some = true) {
                    System.out.println(found.get(i));
                }
            }
            if (!some) {
                System.out.println("error: none");
            }
        } catch (NameNotFoundException missing) {
            System.out.println("error: none");
        } catch (ServiceUnavailableException | CommunicationException failed) {
            System.out.println("error: again");
        }
    }
}
