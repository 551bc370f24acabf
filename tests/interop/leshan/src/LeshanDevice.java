import static org.eclipse.leshan.core.model.ResourceModel.Operations.E;
import static org.eclipse.leshan.core.model.ResourceModel.Operations.R;
import static org.eclipse.leshan.core.model.ResourceModel.Operations.RW;
import static org.eclipse.leshan.core.model.ResourceModel.Type.BOOLEAN;
import static org.eclipse.leshan.core.model.ResourceModel.Type.CORELINK;
import static org.eclipse.leshan.core.model.ResourceModel.Type.FLOAT;
import static org.eclipse.leshan.core.model.ResourceModel.Type.INTEGER;
import static org.eclipse.leshan.core.model.ResourceModel.Type.NONE;
import static org.eclipse.leshan.core.model.ResourceModel.Type.OBJLNK;
import static org.eclipse.leshan.core.model.ResourceModel.Type.OPAQUE;
import static org.eclipse.leshan.core.model.ResourceModel.Type.STRING;
import static org.eclipse.leshan.core.model.ResourceModel.Type.TIME;
import static org.eclipse.leshan.core.model.ResourceModel.Type.UNSIGNED_INTEGER;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.Reader;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;

import org.eclipse.californium.core.config.CoapConfig;
import org.eclipse.californium.elements.config.Configuration;
import org.eclipse.californium.scandium.config.DtlsConfig;
import org.eclipse.leshan.client.LeshanClient;
import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.engine.DefaultRegistrationEngineFactory;
import org.eclipse.leshan.client.object.Device;
import org.eclipse.leshan.client.object.LwM2mTestObject;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.observer.LwM2mClientObserverAdapter;
import org.eclipse.leshan.client.resource.LwM2mInstanceEnabler;
import org.eclipse.leshan.client.resource.ObjectEnabler;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.resource.SimpleInstanceEnabler;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.ResponseCode;
import org.eclipse.leshan.core.model.LwM2mModelRepository;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.ResourceModel;
import org.eclipse.leshan.core.model.ResourceModel.Operations;
import org.eclipse.leshan.core.model.ResourceModel.Type;
import org.eclipse.leshan.core.request.BindingMode;
import org.eclipse.leshan.core.request.BootstrapRequest;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.DeregisterRequest;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UpdateRequest;
import org.eclipse.leshan.core.request.argument.Arguments;
import org.eclipse.leshan.core.response.ExecuteResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.util.datatype.ULong;
import org.eclipse.leshan.transport.californium.client.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coap.CoapClientProtocolProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coaps.CoapsClientProtocolProvider;

/**
 * Starts a LwM2M client of Eclipse Leshan with a Device, two temperature sensors and Leshan's own Test
 * Object (3442), and moves it by lines on standard input. A file of properties says who it is and where it goes:
 *
 *     uri, endpoint, lifetime_s
 *     version                 of LwM2M, 1.1 or 1.0
 *     queue_mode, bootstrap   true or false: the account is of a bootstrap server
 *     security                0 PSK, 2 X.509, 3 none (Resource /0/x/2)
 *     identity, key, server   hexadecimal, as Resources /0/x/3, 5 and 4 hold them
 *     usage                   of the server's certificate (/0/x/15), for X.509
 *     cid                     the length of the Connection ID it gives the server (RFC 9146), -1 to know of none
 *     firmware                the version it runs, empty for a device without object 5; and of that
 *     delivery                Resource /5/0/9: 0 pull, 1 push, 2 both
 *     max_body                the most bytes that Californium takes as one body, block by block
 *
 * Leshan's demo client is on no registry this project draws from, its libraries are: what goes over the wire is
 * Leshan's and Californium's doing. This program only fills the objects, as the demo does (servers can create and
 * delete sensors and Test Objects), and reports, one line each on standard output, what the library tells its
 * observers:
 *
 *     BOOTSTRAPPED    REGISTERED /rd/id    UPDATED    DEREGISTERED    SENT code    REBOOT    FAILED what why
 *
 * and what Firmware says.
 *
 * Commands: `temperature INSTANCE VALUE`, `battery PERCENT`, `send FORMAT PATH...`, `update`, `stop`, and as at
 * the demo's prompt `create OBJECT INSTANCE` and `delete OBJECT INSTANCE`, which the client tells by an Update.
 */
public final class LeshanDevice {
    private static final int SHORT_SERVER_ID = 123;
    private static final long SEND_TIMEOUT_MS = 5000;

    private LeshanDevice() {
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 1) {
            System.err.println("usage: LeshanDevice PROPERTIES");
            System.exit(2);
        }
        Properties wanted = new Properties();
        try (Reader file = Files.newBufferedReader(Path.of(args[0]))) {
            wanted.load(file);
        }
        Thermometer[] thermometers = { new Thermometer(20.0), new Thermometer(-5.0) };
        Firmware firmware = firmware(wanted);
        BatteryDevice device = new BatteryDevice(firmware);
        ObjectsInitializer objects = new ObjectsInitializer(models());
        boolean bootstrap = Boolean.parseBoolean(wanted.getProperty("bootstrap"));
        objects.setInstancesForObject(0, security(wanted, bootstrap));
        if (bootstrap) {
            objects.setClassForObject(1, Server.class);
        } else {
            objects.setInstancesForObject(1, new Server(SHORT_SERVER_ID,
                    Long.parseLong(wanted.getProperty("lifetime_s")), EnumSet.of(BindingMode.U), false, BindingMode.U));
        }
        objects.setInstancesForObject(3, device);
        objects.setInstancesForObject(3303, thermometers[0], thermometers[1]);
        objects.setInstancesForObject(3442, new LwM2mTestObject());
        if (firmware != null) {
            objects.setInstancesForObject(5, firmware);
        }

        boolean queueMode = Boolean.parseBoolean(wanted.getProperty("queue_mode"));
        DefaultRegistrationEngineFactory engine = wanted.getProperty("version").equals("1.0")
                ? new Version10(queueMode) : new DefaultRegistrationEngineFactory();
        engine.setQueueMode(queueMode);
        LeshanClientBuilder builder = new LeshanClientBuilder(wanted.getProperty("endpoint"));
        builder.setObjects(objects.createAll());
        builder.setRegistrationEngineFactory(engine);
        builder.setEndpointsProviders(endpoints(wanted));
        LeshanClient client = builder.build();
        client.addObserver(new Reporter());
        // SIGTERM and end of input both leave the way a well-behaved device does: by deregistering.
        Runtime.getRuntime().addShutdownHook(new Thread(() -> client.destroy(true)));
        client.start();
        obey(client, device, thermometers);
        System.exit(0);
    }

    private static Firmware firmware(Properties wanted) {
        String version = wanted.getProperty("firmware");
        return version.isEmpty() ? null
                : new Firmware(version, Integer.parseInt(wanted.getProperty("delivery")),
                        Integer.parseInt(wanted.getProperty("max_body")),
                        new String(HexFormat.of().parseHex(wanted.getProperty("identity")), StandardCharsets.UTF_8),
                        HexFormat.of().parseHex(wanted.getProperty("key")));
    }

    private static Security security(Properties wanted, boolean bootstrap) {
        HexFormat hex = HexFormat.of();
        String uri = wanted.getProperty("uri");
        byte[] identity = hex.parseHex(wanted.getProperty("identity"));
        byte[] key = hex.parseHex(wanted.getProperty("key"));
        byte[] server = hex.parseHex(wanted.getProperty("server"));
        ULong usage = ULong.valueOf(wanted.getProperty("usage"));
        return switch (wanted.getProperty("security")) {
        case "0" -> bootstrap ? Security.pskBootstrap(uri, identity, key)
                : Security.psk(uri, SHORT_SERVER_ID, identity, key);
        case "2" -> bootstrap ? Security.x509Bootstrap(uri, identity, key, server, usage)
                : Security.x509(uri, SHORT_SERVER_ID, identity, key, server, usage);
        default -> bootstrap ? Security.noSecBootstrap(uri) : Security.noSec(uri, SHORT_SERVER_ID);
        };
    }

    private static CaliforniumClientEndpointsProvider endpoints(Properties wanted) {
        int cid = Integer.parseInt(wanted.getProperty("cid"));
        CaliforniumClientEndpointsProvider.Builder endpoints = new CaliforniumClientEndpointsProvider.Builder(
                new CoapClientProtocolProvider(), new CoapsClientProtocolProvider());
        Configuration configuration = endpoints.createDefaultConfiguration();
        if (cid >= 0) {
            configuration.set(DtlsConfig.DTLS_CONNECTION_ID_LENGTH, cid);
        }
        configuration.set(CoapConfig.MAX_RESOURCE_BODY_SIZE, Integer.parseInt(wanted.getProperty("max_body")));
        endpoints.setConfiguration(configuration);
        return endpoints.setClientAddress(InetAddress.getLoopbackAddress()).build();
    }

    private static void obey(LeshanClient client, BatteryDevice device, Thermometer[] thermometers) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.trim().split(" ");
            switch (words[0]) {
            case "temperature" -> thermometers[Integer.parseInt(words[1])].measure(Double.parseDouble(words[2]));
            case "battery" -> device.drain(Long.parseLong(words[1]));
            case "send" -> send(client, ContentFormat.fromName(words[1]), Arrays.asList(words).subList(2, words.length));
            case "update" -> client.triggerRegistrationUpdate();
            case "create" -> create(object(client, words[1]), Integer.parseInt(words[2]));
            case "delete" -> object(client, words[1]).removeInstance(Integer.parseInt(words[2]));
            case "stop" -> {
                return;
            }
            default -> say("FAILED command " + line);
            }
        }
    }

    private static ObjectEnabler object(LeshanClient client, String id) {
        return (ObjectEnabler) client.getObjectTree().getObjectEnabler(Integer.parseInt(id));
    }

    private static void create(ObjectEnabler object, int id) {
        LwM2mInstanceEnabler instance = object.getId() == 3303 ? new Thermometer() : new LwM2mTestObject();
        instance.setId(id);
        instance.setModel(object.getObjectModel());
        object.addInstance(id, instance);
    }

    private static void send(LeshanClient client, ContentFormat format, List<String> paths) {
        LwM2mServer server = client.getRegisteredServers().values().iterator().next();
        client.getSendService().sendData(server, format, paths, SEND_TIMEOUT_MS,
                response -> say("SENT " + response.getCode().getCode()), error -> say("FAILED send " + error));
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    /** The models Leshan carries are the core objects only; these two are in the OMA registry. */
    private static org.eclipse.leshan.core.model.LwM2mModel models() {
        List<ObjectModel> all = new ArrayList<>(ObjectLoader.loadDefault());
        all.add(new ObjectModel(3303, "Temperature", "", "1.0", true, false,
                resource(5700, R, false, FLOAT), resource(5701, R, false, STRING), resource(5601, R, false, FLOAT),
                resource(5602, R, false, FLOAT), resource(5605, E, false, NONE)));
        List<ResourceModel> test = new ArrayList<>();
        for (int id : new int[] { 0, 1, 2, 3, 5 }) {
            test.add(resource(id, E, false, NONE));
        }
        test.add(resource(4, R, true, STRING));
        test.add(resource(6, RW, true, STRING));
        Map<Integer, Type> values = Map.of(110, STRING, 120, INTEGER, 125, UNSIGNED_INTEGER, 130, FLOAT, 140, BOOLEAN,
                150, OPAQUE, 160, TIME, 170, OBJLNK, 180, CORELINK);
        values.forEach((id, type) -> {
            test.add(resource(id, RW, false, type));
            test.add(resource(id + 1000, RW, true, type));
        });
        all.add(new ObjectModel(3442, "LwM2M v1.1 Test Object", "", "1.0", true, false, test));
        return new LwM2mModelRepository(all).getLwM2mModel();
    }

    private static ResourceModel resource(int id, Operations operations, boolean multiple, Type type) {
        return new ResourceModel(id, "resource " + id, operations, multiple, false, type, "", "", "");
    }

    /** A temperature sensor that shows the value it was told, and notifies as Leshan does on a change. */
    public static final class Thermometer extends SimpleInstanceEnabler {
        /** For Leshan's factory, should a server create an instance. */
        public Thermometer() {
            this(0.0);
        }

        Thermometer(double value) {
            initialValues = Map.of(5700, value, 5701, "Cel", 5601, value, 5602, value);
        }

        void measure(double value) {
            double lowest = Math.min(value, (Double) resources.get(5601).getValue());
            double highest = Math.max(value, (Double) resources.get(5602).getValue());
            fireResourcesChange(applyValues(Map.of(5700, value, 5601, lowest, 5602, highest)));
        }

        @Override
        public ExecuteResponse execute(LwM2mServer server, int resource, Arguments arguments) {
            if (resource != 5605) {
                return super.execute(server, resource, arguments);
            }
            Object now = resources.get(5700).getValue();
            fireResourcesChange(applyValues(Map.of(5601, now, 5602, now)));
            return ExecuteResponse.success();
        }
    }

    /** Leshan's Device, with a battery and an error code beside what Leshan gives it. */
    public static final class BatteryDevice extends Device {
        private final Firmware firmware;
        private long percent = 87;

        /** What Leshan's factory demands, for an object of one instance that is never created. */
        public BatteryDevice() {
            this(null);
        }

        BatteryDevice(Firmware firmware) {
            super("Eclipse Leshan", "interop", "0123456789");
            this.firmware = firmware;
        }

        void drain(long percent) {
            this.percent = percent;
            fireResourceChange(9);
        }

        @Override
        public ReadResponse read(LwM2mServer server, int resource) {
            return switch (resource) {
            case 3 -> firmware == null ? ReadResponse.notFound() : ReadResponse.success(3, firmware.version());
            case 9 -> ReadResponse.success(9, percent);
            case 11 -> ReadResponse.success(11, Map.of(0, 0L), INTEGER);
            default -> super.read(server, resource);
            };
        }

        @Override
        public ExecuteResponse execute(LwM2mServer server, int resource, Arguments arguments) {
            if (resource != 4) {
                return super.execute(server, resource, arguments);
            }
            say("REBOOT");
            return ExecuteResponse.success();
        }

        @Override
        public List<Integer> getAvailableResourceIds(ObjectModel model) {
            List<Integer> ids = new ArrayList<>(super.getAvailableResourceIds(model));
            for (int id : new int[] { 3, 4, 9, 11 }) {
                if (!ids.contains(id) && (id != 3 || firmware != null)) {
                    ids.add(id);
                }
            }
            ids.sort(null);
            return ids;
        }
    }

    private static final class Reporter extends LwM2mClientObserverAdapter {
        @Override
        public void onBootstrapSuccess(LwM2mServer server, BootstrapRequest request) {
            say("BOOTSTRAPPED");
        }

        @Override
        public void onBootstrapFailure(LwM2mServer server, BootstrapRequest request, ResponseCode code, String message,
                Exception cause) {
            say("FAILED bootstrap " + code + " " + message);
        }

        @Override
        public void onBootstrapTimeout(LwM2mServer server, BootstrapRequest request) {
            say("FAILED bootstrap timeout");
        }

        @Override
        public void onRegistrationSuccess(LwM2mServer server, RegisterRequest request, String id) {
            say("REGISTERED " + id);
        }

        @Override
        public void onRegistrationFailure(LwM2mServer server, RegisterRequest request, ResponseCode code,
                String message, Exception cause) {
            say("FAILED register " + code + " " + message);
        }

        @Override
        public void onRegistrationTimeout(LwM2mServer server, RegisterRequest request) {
            say("FAILED register timeout");
        }

        @Override
        public void onUpdateSuccess(LwM2mServer server, UpdateRequest request) {
            say("UPDATED");
        }

        @Override
        public void onUpdateFailure(LwM2mServer server, UpdateRequest request, ResponseCode code, String message,
                Exception cause) {
            say("FAILED update " + code + " " + message);
        }

        @Override
        public void onUpdateTimeout(LwM2mServer server, UpdateRequest request) {
            say("FAILED update timeout");
        }

        @Override
        public void onDeregistrationSuccess(LwM2mServer server, DeregisterRequest request) {
            say("DEREGISTERED");
        }

        @Override
        public void onDeregistrationFailure(LwM2mServer server, DeregisterRequest request, ResponseCode code,
                String message, Exception cause) {
            say("FAILED deregister " + code + " " + message);
        }
    }
}
