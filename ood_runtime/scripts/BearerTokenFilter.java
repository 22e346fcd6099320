package ood_runtime;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import javax.servlet.Filter;
import javax.servlet.FilterChain;
import javax.servlet.FilterConfig;
import javax.servlet.ServletException;
import javax.servlet.ServletRequest;
import javax.servlet.ServletResponse;
import javax.servlet.http.HttpServletRequest;
import javax.servlet.http.HttpServletResponse;

/**
 * Closes the web interfaces of Spark 3.5 to everybody who does not send {@code Authorization: Bearer TOKEN}.
 *
 * <p>ood_runtime/ui_filter.py compiles it with Janino, which knows an older Java: no lambdas, no {@code var}.
 * Spark 4 has org.apache.spark.ui.JWSFilter and needs none of this.
 */
public class BearerTokenFilter implements Filter {
    private static final String SCHEME = "Bearer ";

    private byte[] token;

    /** Without a token the interface does not start: an open one would be worse. */
    @Override
    public void init(FilterConfig config) throws ServletException {
        String value = config.getInitParameter("token");
        if (value == null || value.isEmpty()) {
            throw new ServletException("the parameter \"token\" of " + getClass().getName() + " is not set");
        }
        token = value.getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        if (isAllowed(((HttpServletRequest) request).getHeader("Authorization"))) {
            chain.doFilter(request, response);
        } else {
            // Not sendError: its page tells what runs here.
            ((HttpServletResponse) response).setStatus(HttpServletResponse.SC_FORBIDDEN);
        }
    }

    @Override
    public void destroy() {
    }

    private boolean isAllowed(String header) {
        if (header == null || !header.regionMatches(true, 0, SCHEME, 0, SCHEME.length())) {
            return false;
        }
        byte[] given = header.substring(SCHEME.length()).trim().getBytes(StandardCharsets.UTF_8);
        // Its time depends on the length of what is given only.
        return MessageDigest.isEqual(given, token);
    }
}
