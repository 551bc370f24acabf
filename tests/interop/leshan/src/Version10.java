import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ScheduledExecutorService;

import org.eclipse.leshan.client.EndpointsManager;
import org.eclipse.leshan.client.bootstrap.BootstrapHandler;
import org.eclipse.leshan.client.engine.ClientEndpointNameProvider;
import org.eclipse.leshan.client.engine.DefaultRegistrationEngineFactory;
import org.eclipse.leshan.client.engine.RegistrationEngine;
import org.eclipse.leshan.client.observer.LwM2mClientObserver;
import org.eclipse.leshan.client.request.UplinkRequestSender;
import org.eclipse.leshan.client.resource.LwM2mObjectTree;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.client.servers.ServersInfoExtractor;
import org.eclipse.leshan.client.util.LinkFormatHelper;
import org.eclipse.leshan.core.request.BindingMode;
import org.eclipse.leshan.core.request.ContentFormat;
import org.eclipse.leshan.core.request.RegisterRequest;
import org.eclipse.leshan.core.request.UplinkRequest;
import org.eclipse.leshan.core.response.ErrorCallback;
import org.eclipse.leshan.core.response.LwM2mResponse;
import org.eclipse.leshan.core.response.ResponseCallback;

/**
 * Has a client register by LwM2M 1.0, which Leshan's library speaks and its registration engine does not offer:
 * `lwm2m=1.0`, and queue mode in the binding, `b=UQ`.
 */
final class Version10 extends DefaultRegistrationEngineFactory {
    private final EnumSet<BindingMode> binding;

    Version10(boolean queueMode) {
        binding = queueMode ? EnumSet.of(BindingMode.U, BindingMode.Q) : EnumSet.of(BindingMode.U);
    }

    @Override
    public RegistrationEngine createRegistratioEngine(ClientEndpointNameProvider name, LwM2mObjectTree objects,
            EndpointsManager endpoints, UplinkRequestSender sender, BootstrapHandler bootstrap,
            LwM2mClientObserver observer, Map<String, String> attributes, Map<String, String> bsAttributes,
            Set<ContentFormat> formats, ScheduledExecutorService executor, LinkFormatHelper links,
            ServersInfoExtractor servers) {
        return super.createRegistratioEngine(name, objects, endpoints, new Sender10(sender, binding), bootstrap,
                observer, attributes, bsAttributes, formats, executor, links, servers);
    }

    private record Sender10(UplinkRequestSender sender, EnumSet<BindingMode> binding) implements UplinkRequestSender {
        @Override
        public <T extends LwM2mResponse> T send(LwM2mServer server, UplinkRequest<T> request, long timeoutMs)
                throws InterruptedException {
            return sender.send(server, older(request), timeoutMs);
        }

        @Override
        public <T extends LwM2mResponse> void send(LwM2mServer server, UplinkRequest<T> request, long timeoutMs,
                ResponseCallback<T> answered, ErrorCallback failed) {
            sender.send(server, older(request), timeoutMs, answered, failed);
        }

        /** A Register in the terms of 1.0, everything else as it is. */
        @SuppressWarnings("unchecked") // a RegisterRequest is an UplinkRequest<RegisterResponse>, so is its like
        private <T extends LwM2mResponse> UplinkRequest<T> older(UplinkRequest<T> request) {
            if (!(request instanceof RegisterRequest register)) {
                return request;
            }
            return (UplinkRequest<T>) (UplinkRequest<?>) new RegisterRequest(register.getEndpointName(),
                    register.getLifetime(), "1.0", binding, null, register.getSmsNumber(), register.getObjectLinks(),
                    register.getAdditionalAttributes());
        }
    }
}
