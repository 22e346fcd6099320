# A driver in R without SparkR, which no package has: it speaks the protocol of Spark's RBackend (org.apache.spark.api.r)
# over a socket, and starts it as SparkR does: SPARK_HOME/bin/spark-submit SPARKR_SUBMIT_ARGS FILE, through a shell.
# Lacks what SparkR makes of it: data frames, serializers of other types, the collection of what R has forgotten.

backend_int <- function(con, value) writeBin(as.integer(value), con, endian = "big")
backend_string <- function(con, value) {
    bytes <- c(charToRaw(enc2utf8(value)), as.raw(0))
    backend_int(con, length(bytes))
    writeBin(bytes, con)
}
backend_write <- function(con, value) {
    tag <- function(letter) writeBin(charToRaw(letter), con)
    if (inherits(value, "backend_object")) { tag("j"); backend_string(con, unclass(value)) }
    else if (is.environment(value)) { tag("e"); backend_int(con, 0L) }
    else if (is.list(value)) { tag("a"); tag("c"); backend_int(con, 0L) }
    else if (is.character(value)) { tag("c"); backend_string(con, value) }
    else if (is.logical(value)) { tag("b"); backend_int(con, value) }
    else { tag("i"); backend_int(con, value) }
}
backend_read_int <- function(con) readBin(con, integer(), 1, endian = "big")
backend_read_string <- function(con) {
    bytes <- readBin(con, raw(), backend_read_int(con))
    rawToChar(bytes[bytes != as.raw(0)])
}
backend_read <- function(con) {
    switch(
        rawToChar(readBin(con, raw(), 1)),
        n = NULL,
        i = backend_read_int(con),
        b = backend_read_int(con) != 0L,
        d = readBin(con, double(), 1, endian = "big"),
        c = backend_read_string(con),
        j = structure(backend_read_string(con), class = "backend_object"),
        stop("a type that this client does not know")
    )
}

# Start the JVM; a connection that it has let in.
backend_start <- function(seconds = 60) {
    file <- tempfile("backend_port")
    submit <- file.path(Sys.getenv("SPARK_HOME"), "bin", "spark-submit")
    system2(submit, paste(Sys.getenv("SPARKR_SUBMIT_ARGS"), file), wait = FALSE)
    deadline <- Sys.time() + seconds
    while (!file.exists(file)) {
        if (Sys.time() > deadline) stop("the JVM does not answer")
        Sys.sleep(0.05)
    }
    from <- file(file, "rb")
    port <- backend_read_int(from)
    monitor <- backend_read_int(from)
    backend_read_string(from)  # where R's packages are,
    backend_read_int(from)  # and for how long to wait
    secret <- backend_read_string(from)
    close(from)
    enter <- function(port) {
        con <- socketConnection("localhost", port, blocking = TRUE, open = "wb", timeout = 120)
        backend_string(con, secret)
        answer <- backend_read_string(con)
        if (answer != "ok") stop("the JVM does not let us in: ", answer)
        con
    }
    list(monitor = enter(monitor), calls = enter(port))
}

# A method of an object; or, for the name of a class, a static one.
backend_call <- function(backend, target, method, ...) {
    static <- !inherits(target, "backend_object")
    request <- rawConnection(raw(0), "r+")
    backend_int(request, static)
    backend_string(request, unclass(target))
    backend_string(request, method)
    backend_int(request, ...length())
    for (argument in list(...)) backend_write(request, argument)
    bytes <- rawConnectionValue(request)
    close(request)
    backend_int(backend$calls, length(bytes))
    writeBin(bytes, backend$calls)
    if (backend_read_int(backend$calls) != 0L) stop(backend_read_string(backend$calls))
    backend_read(backend$calls)
}

# As sparkR.session() does it, with none of its arguments.
backend_session <- function(backend) {
    context <- backend_call(
        backend, "org.apache.spark.api.r.RRDD", "createSparkContext",
        "", "R", Sys.getenv("SPARK_HOME"), list(), new.env(), new.env()
    )
    backend_call(
        backend, "org.apache.spark.sql.api.r.SQLUtils", "getOrCreateSparkSession", context, new.env(), TRUE
    )
}

# The first row of what a query gives, as JSON; computed on the cluster. And where the driver has found that.
backend_query <- function(backend, session, query) {
    rows <- backend_call(backend, backend_call(backend, session, "sql", query), "toJSON")
    backend_call(backend, rows, "first")
}
backend_master <- function(backend, session) {
    backend_call(backend, backend_call(backend, session, "conf"), "get", "spark.master")
}
