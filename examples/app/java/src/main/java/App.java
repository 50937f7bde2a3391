import com.fasterxml.jackson.databind.ObjectMapper;
import dev.openfeature.contrib.providers.flagd.Config;
import dev.openfeature.contrib.providers.flagd.FlagdOptions;
import dev.openfeature.contrib.providers.flagd.FlagdProvider;
import dev.openfeature.sdk.Client;
import dev.openfeature.sdk.EvaluationContext;
import dev.openfeature.sdk.FlagEvaluationDetails;
import dev.openfeature.sdk.ImmutableContext;
import dev.openfeature.sdk.OpenFeatureAPI;
import dev.openfeature.sdk.Value;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * Says what users get of boolean flags, by the official flagd provider.
 *
 * <p>usage: java -cp 'target/classes:target/dependency/*' App FLAG... [--watch] &lt; users.jsonl
 */
public final class App {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        List<String> flags = new ArrayList<>(List.of(args));
        boolean watch = flags.remove("--watch");
        String path = System.getenv("FLAGD_OFFLINE_FLAG_SOURCE_PATH");
        if (flags.isEmpty() || path == null) {
            System.err.println("usage: App FLAG... [--watch]; FLAGD_OFFLINE_FLAG_SOURCE_PATH names the mounted file");
            System.exit(1);
        }
        List<Map<String, Object>> users = new ArrayList<>();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            users.add(JSON.readValue(line, JSON.getTypeFactory().constructMapType(Map.class, String.class, Object.class)));
        }
        // By default the provider must be ready after one second, which a large file on a busy machine may exceed.
        FlagdOptions options = FlagdOptions.builder()
                .resolverType(Config.Resolver.FILE)
                .offlineFlagSourcePath(path)
                .deadline(60_000)
                .build();
        OpenFeatureAPI api = OpenFeatureAPI.getInstance();
        api.setProviderAndWait(new FlagdProvider(options));
        Client client = api.getClient();
        LinkedBlockingQueue<Object> changes = new LinkedBlockingQueue<>();
        client.onProviderConfigurationChanged(changes::add);
        report(client, flags, users);
        while (watch) {
            changes.take();
            report(client, flags, users);
        }
        api.shutdown();
        System.exit(0);
    }

    private static void report(Client client, List<String> flags, List<Map<String, Object>> users) throws Exception {
        StringBuilder out = new StringBuilder();
        for (String flag : flags) {
            for (Map<String, Object> user : users) {
                FlagEvaluationDetails<Boolean> details = client.getBooleanDetails(flag, false, context(user));
                Map<String, Object> line = new LinkedHashMap<>();
                line.put("flag", flag);
                line.put("targetingKey", user.get("targetingKey"));
                line.put("value", details.getValue());
                line.putAll(labels(details.getVariant()));
                line.put("reason", details.getReason());
                out.append(JSON.writeValueAsString(line)).append('\n');
            }
        }
        System.out.print(out);
        System.out.flush();
    }

    /** The variant's name and the user's cohort, as labels of a metric; feature.variantNames says whether there is one. */
    private static Map<String, String> labels(String variant) {
        int at = variant == null ? -1 : variant.lastIndexOf('@');
        Map<String, String> labels = new LinkedHashMap<>();
        labels.put("variant", at < 0 ? variant : variant.substring(0, at));
        labels.put("cohort", at < 0 ? null : variant.substring(at + 1));
        return labels;
    }

    private static EvaluationContext context(Map<String, Object> user) {
        Map<String, Value> attributes = new HashMap<>();
        user.forEach((name, value) -> attributes.put(name, Value.objectToValue(known(value))));
        attributes.remove("targetingKey");
        return user.get("targetingKey") instanceof String key
                ? new ImmutableContext(key, attributes)
                : new ImmutableContext(attributes);
    }

    /** OpenFeature's values know integers of 32 bits and doubles. */
    private static Object known(Object value) {
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> known = new HashMap<>();
            map.forEach((name, field) -> known.put((String) name, known(field)));
            return known;
        }
        if (value instanceof List<?> list) {
            List<Object> known = new ArrayList<>();
            list.forEach(item -> known.add(known(item)));
            return known;
        }
        return value instanceof Number number && !(value instanceof Integer) ? number.doubleValue() : value;
    }
}
